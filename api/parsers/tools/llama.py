"""`{"name": …, "parameters": …}` in place of an answer, several of them parted by `;`.

Source: the chat template of Llama 3.1 and 3.2. Without a marker only objects that name a declared
tool and have arguments are calls. Granite 20B marks each such object.
"""

from __future__ import annotations

from collections.abc import Sequence

from api.parsers.answer import Answer
from api.parsers.json_text import json_call
from api.parsers.reader import Mismatch, Reader, Waiting
from api.parsers.script import Script, calls_after
from api.parsers.tool_spec import ToolSpec
from api.parsers.tools.format import ToolFormat
from api.parsers.tools.grammar import CallGrammar
from api.parsers.tools.hermes import json_object

PYTHON_TAG = "<|python_tag|>"


def _llama(tools: Sequence[ToolSpec]) -> Script:
    known = frozenset(tool.name for tool in tools)

    def calls(reader: Reader, answer: Answer, marker: str) -> Waiting[None]:
        is_going_on = True
        while is_going_on:
            yield from reader.spaces()
            yield from json_call(reader, answer, known=known, needs_arguments=True)
            reader.commit()
            yield from reader.spaces()
            is_going_on = bool((yield from reader.one_of(";", ",")))

    after_tag = calls_after([PYTHON_TAG], [], calls)

    def script(reader: Reader, answer: Answer) -> Waiting[None]:
        yield from reader.spaces()
        if (yield from reader.peek()) == "{":
            try:
                yield from calls(reader, answer, "")
            except Mismatch:
                answer.content(reader.rejected())
        yield from after_tag(reader, answer)

    return script


def _granite(reader: Reader, answer: Answer, marker: str) -> Waiting[None]:
    yield from reader.spaces()
    yield from json_call(reader, answer)


LLAMA3 = ToolFormat(
    name="llama3_json",
    models="Llama 3.1, 3.2, 3.3",
    sample='{"name": "get_weather", "parameters": {"city": "Paris"}}',
    script=_llama,
    call_grammar=CallGrammar(call=json_object("parameters"), between="; ", not_text=r"[^\s{]"),
    markers=(PYTHON_TAG,),
    model_types=frozenset({"mllama"}),
    template_marks=(("<|start_header_id|>", '"parameters": dictionary'),),
)

GRANITE_20B = ToolFormat(
    name="granite-20b-fc",
    models="Granite 20B function calling",
    sample='<function_call> {"name": "get_weather", "arguments": {"city": "Paris"}}',
    script=lambda tools: calls_after(["<function_call>"], [], _granite),
    call_grammar=CallGrammar(
        trigger="<function_call>", open="<function_call> ", call=json_object(), between="\n"
    ),
    markers=("<function_call>",),
    model_types=frozenset({"gpt_bigcode"}),
    template_marks=(("<function_call>",),),
)
