"""Thoughts, then text and calls, as one parser."""

from __future__ import annotations

from api.parsers.events import ReasoningDelta, ToolCallStart
from api.parsers.pipeline import Pipeline
from api.parsers.reasoning import REASONING_PARSERS
from api.parsers.tool_spec import ToolSpec
from api.parsers.tools import TOOL_PARSERS
from tests.api.parsers.outcome import halves, joined, parsed

QWEN3, HERMES = REASONING_PARSERS["qwen3"], TOOL_PARSERS["hermes"]
CALLS = (
    '<tool_call>\n{"name": "weather", "arguments": {"city": "Paris"}}\n</tool_call>\n'
    '<tool_call>\n{"name": "time", "arguments": {}}\n</tool_call>'
)
ANSWER = f"<think>\nLet me\nsee.\n</think>\n\nI look.\n{CALLS}"


def test_thoughts_content_and_calls_come_apart_however_the_text_is_cut() -> None:
    whole = parsed(Pipeline(QWEN3, HERMES), [ANSWER])
    assert whole.reasoning == "Let me\nsee."
    assert whole.content == "I look.\n"
    assert whole.calls == [("weather", '{"city": "Paris"}'), ("time", "{}")]
    for pieces in halves(ANSWER):
        assert parsed(Pipeline(QWEN3, HERMES), pieces) == whole


def test_thoughts_that_the_prompt_opened_are_thoughts() -> None:
    pipeline = Pipeline(QWEN3, HERMES, is_open=True)
    outcome = parsed(pipeline, ["so </thi", "nk>\nyes"])
    assert (outcome.reasoning, outcome.content) == ("so ", "yes")


def test_calls_written_in_thoughts_are_thoughts() -> None:
    outcome = parsed(Pipeline(QWEN3, HERMES), [f"<think>{CALLS}</think>no"])
    assert (outcome.calls, outcome.content) == ([], "no")


def test_thoughts_are_told_as_they_come() -> None:
    assert Pipeline(QWEN3, None).push("<think>so") == [ReasoningDelta("so")]


def test_a_bound_on_calls_leaves_later_ones_out_and_says_so() -> None:
    pipeline = Pipeline(None, HERMES, max_calls=1)
    events = pipeline.push(CALLS)
    assert pipeline.is_finished
    assert [event for event in events if isinstance(event, ToolCallStart)] == [
        ToolCallStart(0, "weather")
    ]
    assert joined(events + pipeline.finish()).calls == [("weather", '{"city": "Paris"}')]


def test_a_custom_tool_gets_its_raw_input() -> None:
    text = (
        '<tool_call>\n{"name": "run", "arguments": {"input": "a\\n\\"\\ud83d\\ude00\\u00e9"}}'
        "\n</tool_call>"
    )
    tools = [ToolSpec(name="run", is_custom=True)]
    for pieces in [[text], *halves(text)]:
        outcome = parsed(Pipeline(None, HERMES, tools), pieces)
        assert outcome.calls == [
            ("run", 'a\n"\N{GRINNING FACE}\N{LATIN SMALL LETTER E WITH ACUTE}')
        ]


def test_a_custom_tools_odd_arguments_stay_as_they_are() -> None:
    tools = [ToolSpec(name="run", is_custom=True)]
    text = '<tool_call>{"name": "run", "arguments": {"code": "x"}}</tool_call>'
    assert parsed(Pipeline(None, HERMES, tools), [text]).calls == [("run", '{"code": "x"}')]
