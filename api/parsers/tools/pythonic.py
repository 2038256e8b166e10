"""Calls in Python's syntax: `[name(key="value"), …]`. Read as literals, never evaluated.

Sources: the chat templates of Llama 3.2 and 4 (pythonic), OLMo 3 and LFM2.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from api.parsers.answer import Answer
from api.parsers.literals import PYTHON, json_inside, literal_value
from api.parsers.reader import Mismatch, Reader, Waiting
from api.parsers.schema import Schema
from api.parsers.script import Script, calls_after
from api.parsers.tool_spec import ToolSpec
from api.parsers.tools.format import ToolFormat
from api.parsers.tools.grammar import CallGrammar, GrammarWriter
from api.parsers.tools.values import LiteralGrammar, LiteralStyle, arguments_of, members_of

_NAME = re.compile(r"[\w.\-]*")


def call_in_python(
    reader: Reader, answer: Answer, known: frozenset[str] | None = None
) -> Waiting[None]:
    """Read `name(key=value, …)`.

    Arguments:
        known: only these names make a call; None: any.

    Raises:
        Mismatch: it is no such call, or goes on strangely.
    """
    name = yield from reader.run(_NAME)
    if not name or (known is not None and name not in known):
        raise Mismatch
    yield from reader.expect("(")
    answer.start_call(name)
    answer.arguments("{")
    reader.commit()
    separator = ""
    yield from reader.spaces()
    while not (yield from reader.one_of(")")):
        yield from _argument(reader, answer, separator)
        separator = ", "
        yield from reader.spaces()
        if not (yield from reader.one_of(",")) and (yield from reader.peek()) not in (")", ""):
            answer.arguments("}")
            raise Mismatch
        yield from reader.spaces()
    reader.commit()
    answer.arguments("}")


def _argument(reader: Reader, answer: Answer, separator: str) -> Waiting[None]:
    key = yield from reader.run(_NAME)
    yield from reader.spaces()
    if not key or not (yield from reader.one_of("=")):
        if (yield from reader.peek()):
            answer.arguments("}")
        raise Mismatch
    yield from reader.spaces()
    reader.commit()
    answer.arguments(f'{separator}"{json_inside(key)}": ')
    yield from literal_value(reader, answer.arguments, PYTHON)


def _listed(reader: Reader, answer: Answer, known: frozenset[str] | None = None) -> Waiting[None]:
    yield from reader.expect("[")
    end = ","
    while end == ",":
        yield from reader.spaces()
        yield from call_in_python(reader, answer, known)
        yield from reader.spaces()
        end = yield from reader.expect(",", "]")
        reader.commit()


def _after(opening: str, closing: str) -> Script:
    def call(reader: Reader, answer: Answer, marker: str) -> Waiting[None]:
        yield from reader.spaces()
        if (yield from reader.peek()) == "[":
            yield from _listed(reader, answer)
            return
        is_going_on = True
        while is_going_on:
            yield from call_in_python(reader, answer)
            yield from reader.spaces()
            character = yield from reader.peek()
            is_going_on = character.isalpha() or character == "_"

    return calls_after([opening], [closing], call)


def _bare(tools: Sequence[ToolSpec]) -> Script:
    known = frozenset(tool.name for tool in tools)

    def script(reader: Reader, answer: Answer) -> Waiting[None]:
        yield from reader.spaces()
        yield from _listed(reader, answer, known)

    return script


def _llama4(tools: Sequence[ToolSpec]) -> Script:
    bare, marked = _bare(tools), _after("<|python_start|>", "<|python_end|>")

    def script(reader: Reader, answer: Answer) -> Waiting[None]:
        yield from reader.spaces()
        if (yield from reader.peek()) == "[":
            try:
                yield from bare(reader, answer)
            except Mismatch:
                answer.content(reader.rejected())
        yield from marked(reader, answer)

    return script


_OF_STRINGS = ("pattern", "format", "minLength", "maxLength")


def _string(writer: GrammarWriter, schema: Schema) -> str:
    # strings of JSON are strings of Python too
    if "const" in schema:
        return writer.json({"const": schema["const"]})
    limits = {key: schema[key] for key in _OF_STRINGS if key in schema}
    return writer.json({"type": "string", **limits})


_STYLE = LiteralStyle(
    _string, {True: "True", False: "False", None: "None"}, lambda key: f"{json.dumps(key)}: "
)


def _written(writer: GrammarWriter, tool: ToolSpec) -> str:
    if tool.input_lark is not None:
        raise writer.refuse(tool, "its input stands in a quoted string; a regex would do")
    named, required = arguments_of(writer, tool)
    values = LiteralGrammar(_STYLE, writer, tool)
    for key in named:
        if not _NAME.fullmatch(key):
            raise writer.refuse(tool, f"'{key}' is no name of an argument in Python")
    members = {
        key: f"{writer.literal(key + '=')} {values.value(value)}" for key, value in named.items()
    }
    return f'{writer.literal(tool.name + "(")} {members_of(writer, members, required, ", ")} ")"'


PYTHONIC = ToolFormat(
    name="pythonic",
    models="Llama 3.2 with a pythonic template, ToolACE",
    sample='[get_weather(city="Paris")]',
    script=_bare,
    call_grammar=CallGrammar(begin="[", call=_written, between=", ", end="]", not_text=r"[^\s\[]"),
    template_marks=(("[func_name1(params_name1=params_value1", "<|start_header_id|>"),),
)

LLAMA4 = ToolFormat(
    name="llama4_pythonic",
    models="Llama 4",
    sample='<|python_start|>[get_weather(city="Paris")]<|python_end|>',
    script=_llama4,
    call_grammar=CallGrammar(begin="[", call=_written, between=", ", end="]", not_text=r"[^\s\[]"),
    markers=("<|python_start|>", "<|python_end|>"),
    model_types=frozenset({"llama4", "llama4_text"}),
    template_marks=(("<|python_start|>",), ("[func_name1(params_name1=params_value1",)),
)

OLMO3 = ToolFormat(
    name="olmo3",
    models="OLMo 3",
    sample='<function_calls>get_weather(city="Paris")</function_calls>',
    script=lambda tools: _after("<function_calls>", "</function_calls>"),
    call_grammar=CallGrammar(
        trigger="<function_calls>",
        begin="<function_calls>",
        call=_written,
        between="\n",
        end="</function_calls>",
    ),
    markers=("<function_calls>", "</function_calls>"),
    partner="olmo3",
    model_types=frozenset({"olmo3"}),
    template_marks=(("<function_calls>",),),
)

LFM2 = ToolFormat(
    name="lfm2",
    models="LFM2",
    sample='<|tool_call_start|>[get_weather(city="Paris")]<|tool_call_end|>',
    script=lambda tools: _after("<|tool_call_start|>", "<|tool_call_end|>"),
    call_grammar=CallGrammar(
        trigger="<|tool_call_start|>",
        begin="<|tool_call_start|>[",
        call=_written,
        between=", ",
        end="]<|tool_call_end|>",
    ),
    markers=("<|tool_call_start|>", "<|tool_call_end|>"),
    model_types=frozenset({"lfm2", "lfm2_moe"}),
    template_marks=(("<|tool_call_start|>",), ("<|tool_list_start|>",)),
)
