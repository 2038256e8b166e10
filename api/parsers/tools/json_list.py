"""Calls as one JSON list: `[{"name": …, "arguments": …}, …]` after a marker, or all alone.

Sources: the chat templates of Granite 3, Phi-4-mini, Hunyuan-A13B, Jamba, Command A and xLAM.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from api.parsers.answer import Answer
from api.parsers.json_text import DEFAULT_KEYS, CallKeys, json_call
from api.parsers.reader import Reader, Waiting
from api.parsers.script import ReadCall, Script, calls_after
from api.parsers.tool_spec import ToolSpec
from api.parsers.tools.format import ToolFormat
from api.parsers.tools.grammar import CallGrammar, GrammarWriter
from api.parsers.tools.hermes import json_object


def json_list(
    reader: Reader,
    answer: Answer,
    keys: CallKeys = DEFAULT_KEYS,
    *,
    known: frozenset[str] | None = None,
) -> Waiting[None]:
    """Read calls in brackets. Arguments and errors: as `json_text.json_call`."""
    yield from reader.expect("[")
    end = ","
    while end == ",":
        yield from reader.spaces()
        yield from json_call(reader, answer, keys, known=known)
        yield from reader.spaces()
        end = yield from reader.expect(",", "]")


def _listed(keys: CallKeys = DEFAULT_KEYS) -> ReadCall:
    def call(reader: Reader, answer: Answer, marker: str) -> Waiting[None]:
        yield from reader.spaces()
        yield from json_list(reader, answer, keys)

    return call


def _after(
    openings: Sequence[str], closings: Sequence[str], keys: CallKeys = DEFAULT_KEYS
) -> Callable[[Sequence[ToolSpec]], Script]:
    script = calls_after(openings, closings, _listed(keys))
    return lambda tools: script


def _bare(tools: Sequence[ToolSpec]) -> Script:
    known = frozenset(tool.name for tool in tools)

    def script(reader: Reader, answer: Answer) -> Waiting[None]:
        yield from reader.spaces()
        yield from json_list(reader, answer, known=known)
        reader.commit()

    return script


GRANITE = ToolFormat(
    name="granite",
    models="Granite 3",
    sample='<|tool_call|>[{"name": "get_weather", "arguments": {"city": "Paris"}}]',
    script=_after(["<|tool_call|>", "<tool_call>"], []),
    call_grammar=CallGrammar(
        trigger="<|tool_call|>", begin="<|tool_call|>[", call=json_object(), between=", ", end="]"
    ),
    markers=("<|tool_call|>", "<tool_call>"),
    partner="granite",
    model_types=frozenset({"granite", "granitemoe"}),
    template_marks=(("<|tool_call|>", "<|start_of_role|>"),),
)

PHI4_MINI = ToolFormat(
    name="phi4_mini_json",
    models="Phi-4-mini",
    sample='functools[{"name": "get_weather", "arguments": {"city": "Paris"}}]',
    script=_after(["functools"], []),
    call_grammar=CallGrammar(
        trigger="functools", begin="functools[", call=json_object(), between=", ", end="]"
    ),
    model_types=frozenset({"phi4mm"}),
    template_marks=(("functools",), ("<|tool|>", "<|/tool|>", "<|assistant|>")),
)

HUNYUAN = ToolFormat(
    name="hunyuan_a13b",
    models="Hunyuan-A13B",
    sample='<tool_calls>[{"name": "get_weather", "arguments": {"city": "Paris"}}]</tool_calls>',
    script=_after(["<tool_calls>"], ["</tool_calls>"]),
    call_grammar=CallGrammar(
        trigger="<tool_calls>",
        begin="<tool_calls>[",
        call=json_object(),
        between=", ",
        end="]</tool_calls>",
    ),
    markers=("<tool_calls>", "</tool_calls>"),
    partner="hunyuan_a13b",
    model_types=frozenset({"hunyuan_v1_moe", "hunyuan_v1_dense", "jamba"}),
    template_marks=(("<tool_calls>",),),
)

_COHERE_KEYS = CallKeys(
    name=("tool_name",), arguments=("parameters",), ignored=(), id=("tool_call_id",)
)


def _cohere_call(writer: GrammarWriter, tool: ToolSpec) -> str:
    name = writer.literal(f'"tool_name": {json.dumps(tool.name)}, "parameters": ')
    head = r'"{\"tool_call_id\": \"" /[0-9]{1,3}/ "\", "'
    return f'{head} {name} {writer.json_arguments(tool)} "}}"'


COHERE = ToolFormat(
    name="cohere_command3",
    models="Command R7B and Command A",
    sample='<|START_ACTION|>[\n    {"tool_call_id": "0", "tool_name": "get_weather", '
    '"parameters": {"city": "Paris"}}\n]<|END_ACTION|>',
    script=_after(["<|START_ACTION|>"], ["<|END_ACTION|>"], _COHERE_KEYS),
    call_grammar=CallGrammar(
        trigger="<|START_ACTION|>",
        begin="<|START_ACTION|>[\n    ",
        call=_cohere_call,
        between=",\n    ",
        end="\n]<|END_ACTION|>",
    ),
    markers=("<|START_ACTION|>", "<|END_ACTION|>"),
    partner="cohere_command3",
    model_types=frozenset({"cohere2"}),
    template_marks=(("<|START_ACTION|>",),),
)

XLAM = ToolFormat(
    name="xlam",
    models="xLAM 2",
    sample='[{"name": "get_weather", "arguments": {"city": "Paris"}}]',
    script=_bare,
    call_grammar=CallGrammar(
        begin="[", call=json_object(), between=", ", end="]", not_text=r"[^\s\[]"
    ),
)
