"""gpt-oss' calls: messages to `functions.NAME`; see `api.parsers.harmony`."""

from __future__ import annotations

from api.parsers.harmony import CHANNEL, CONSTRAIN, END, MARKERS, MESSAGE, START, harmony
from api.parsers.tool_spec import ToolSpec
from api.parsers.tools.format import ToolFormat
from api.parsers.tools.grammar import ANY_TEXT, CallGrammar, GrammarWriter


def _written(writer: GrammarWriter, tool: ToolSpec) -> str:
    head = writer.literal(f"{tool.name} {CONSTRAIN}json{MESSAGE}")
    return f"{head} {writer.json_arguments(tool)}"


def _thoughts(writer: GrammarWriter) -> str:
    """An analysis before the call is the model's right."""
    begin = writer.literal(f"{CHANNEL}analysis{MESSAGE}")
    end = writer.ended(r"(.|\n)*", f"{END}{START}assistant")
    return f"({begin} {end})?"


def _within(writer: GrammarWriter, call: str) -> str:
    """Messages to the user or to itself, then perhaps a call."""
    head = f'{writer.literal(CHANNEL)} ("analysis" | "commentary" | "final")'
    head = writer.rule(f"{head} {writer.literal(MESSAGE)}")
    end = writer.ended(r"(.|\n)*", f"{END}{START}assistant")
    return f"({head} {end})* ({call} | {head} {ANY_TEXT})"


OPENAI = ToolFormat(
    name="openai",
    models="gpt-oss",
    sample="<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>"
    '{"city": "Paris"}<|call|>',
    script=lambda tools: harmony(has_calls=True),
    call_grammar=CallGrammar(
        trigger=f"{CHANNEL}commentary to=functions.",
        open=f"{CHANNEL}commentary to=functions.",
        call=_written,
        lead=_thoughts,
        within=_within,
        is_single=True,
    ),
    markers=MARKERS,
    partner="openai_gptoss",
    reads_reasoning=True,
    model_types=frozenset({"gpt_oss"}),
    template_marks=(("<|channel|>", "<|message|>"),),
)
