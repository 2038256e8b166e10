"""`<tool_call>{"name": …, "arguments": …}</tool_call>`, as Nous Hermes and Qwen write it.

Source: the chat templates of Hermes-2-Pro and Qwen2.5/Qwen3.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from api.parsers.answer import Answer
from api.parsers.json_text import json_call
from api.parsers.reader import Reader, Waiting
from api.parsers.script import Script, calls_after
from api.parsers.tool_spec import ToolSpec
from api.parsers.tools.format import ToolFormat
from api.parsers.tools.grammar import CallGrammar, GrammarWriter

OPENING, CLOSING = "<tool_call>", "</tool_call>"


def json_between(opening: str, closing: str) -> Callable[[Sequence[ToolSpec]], Script]:
    """Scripts of formats that put one JSON object per call between two texts."""
    script = calls_after([opening], [closing], _call)
    return lambda tools: script


def _call(reader: Reader, answer: Answer, marker: str) -> Waiting[None]:
    yield from reader.spaces()
    yield from json_call(reader, answer)


def json_object(key: str = "arguments") -> Callable[[GrammarWriter, ToolSpec], str]:
    """The expression of `{"name": …, "arguments": …}`."""

    def call(writer: GrammarWriter, tool: ToolSpec) -> str:
        head = writer.literal(f'{{"name": {json.dumps(tool.name)}, "{key}": ')
        return f'{head} {writer.json_arguments(tool)} "}}"'

    return call


HERMES = ToolFormat(
    name="hermes",
    models="Hermes 2 and 3, Qwen2.5, Qwen3, QwQ, Granite 4, the embedded model",
    sample='<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>',
    script=json_between(OPENING, CLOSING),
    call_grammar=CallGrammar(
        trigger=OPENING,
        open=OPENING + "\n",
        call=json_object(),
        close="\n" + CLOSING,
        between="\n",
    ),
    markers=(OPENING, CLOSING),
    partner="qwen3",
    model_types=frozenset({"qwen2", "qwen2_moe", "qwen3", "qwen3_moe", "granitemoehybrid"}),
    template_marks=((OPENING, '{"name": '), (OPENING, '{\\"name\\": ')),
)

LONGCAT = ToolFormat(
    name="longcat",
    models="LongCat-Flash",
    sample="<longcat_tool_call>"
    '{"name": "get_weather", "arguments": {"city": "Paris"}}</longcat_tool_call>',
    script=json_between("<longcat_tool_call>", "</longcat_tool_call>"),
    call_grammar=CallGrammar(
        trigger="<longcat_tool_call>",
        open="<longcat_tool_call>",
        call=json_object(),
        close="</longcat_tool_call>",
        between="\n",
    ),
    markers=("<longcat_tool_call>", "</longcat_tool_call>"),
    model_types=frozenset({"longcat_flash"}),
    template_marks=(("<longcat_tool_call>",),),
)

INTERNLM = ToolFormat(
    name="internlm",
    models="InternLM 2.5",
    sample="<|action_start|><|plugin|>\n"
    '{"name": "get_weather", "parameters": {"city": "Paris"}}<|action_end|>',
    script=json_between("<|action_start|><|plugin|>", "<|action_end|>"),
    call_grammar=CallGrammar(
        trigger="<|action_start|>",
        open="<|action_start|><|plugin|>\n",
        call=json_object("parameters"),
        close="<|action_end|>",
        between="\n",
    ),
    markers=("<|action_start|>", "<|plugin|>", "<|action_end|>"),
    model_types=frozenset({"internlm2"}),
    template_marks=(("<|action_start|>", "<|plugin|>"),),
)

GIGACHAT3 = ToolFormat(
    name="gigachat3",
    models="GigaChat 3",
    sample='<|function_call|>{"name": "get_weather", "arguments": {"city": "Paris"}}',
    script=lambda tools: calls_after(["<|function_call|>"], [], _call),
    call_grammar=CallGrammar(
        trigger="<|function_call|>", open="<|function_call|>", call=json_object(), is_single=True
    ),
    markers=("<|function_call|>",),
    template_marks=(("<|function_call|>",),),
)
