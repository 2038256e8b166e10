"""Every reasoning parser: any cut of the text gives the same, and no text gets lost."""

from __future__ import annotations

import random

import pytest

from api.parsers.pipeline import Pipeline
from api.parsers.reasoning import ALIASES, FORMATS, REASONING_PARSERS, UNSUPPORTED
from api.parsers.reasoning.format import ReasoningFormat
from api.parsers.tools import TOOL_PARSERS
from tests.api.parsers.outcome import halves, parsed
from tests.api.parsers.samples import TOOLS

EVERY = pytest.mark.parametrize("row", FORMATS, ids=lambda row: row.name)
TAGGED = [row for row in FORMATS if row.script is None]
EVERY_TAGGED = pytest.mark.parametrize("row", TAGGED, ids=lambda row: row.name)


def parser(row: ReasoningFormat, prompt: str) -> Pipeline:
    return Pipeline(row, None, is_open=row.is_open_at_start(prompt))


@EVERY_TAGGED
def test_thoughts_and_answer_come_apart_however_the_text_is_cut(row: ReasoningFormat) -> None:
    begin, end = row.around_answer or ("", "")
    text = f"{row.start}\nIs 1 < 2?\n\nYes.\n{row.end}\n\n{begin}It is.\n</x>{end}"
    closed = f"assistant\n{row.end}\n\n"
    whole = parsed(parser(row, closed), [text])
    assert (whole.reasoning, whole.content) == ("Is 1 < 2?\n\nYes.", "It is.\n</x>")
    for pieces in halves(text):
        assert parsed(parser(row, closed), pieces) == whole


@EVERY_TAGGED
def test_thoughts_opened_by_the_prompt_go_on(row: ReasoningFormat) -> None:
    text = f"I see.{row.end}Yes."
    for pieces in [[text], *halves(text)]:
        outcome = parsed(parser(row, f"<bot>{row.start}\n"), pieces)
        assert (outcome.reasoning, outcome.content) == ("I see.", "Yes.")


@EVERY_TAGGED
def test_an_answer_without_thoughts_is_content(row: ReasoningFormat) -> None:
    text = f" Yes, {row.start} is a tag.\n"
    for pieces in [[text], *halves(text)]:
        outcome = parsed(parser(row, f"<bot>{row.end}\n\n"), pieces)
        assert (outcome.reasoning, outcome.content) == ("", text)


@EVERY_TAGGED
def test_a_model_that_always_thinks_needs_no_opening(row: ReasoningFormat) -> None:
    assert row.is_open_at_start("<bot>") == row.is_open_by_default
    assert not row.is_open_at_start(f"what is {row.start}?<bot>{row.end}\n")
    assert row.is_open_at_start(f"{row.start} so far", is_continued=True)
    assert not row.is_open_at_start(f"{row.start} so {row.end} far", is_continued=True)


@EVERY
def test_malformed_text_never_raises_and_never_gets_lost(row: ReasoningFormat) -> None:
    choose = random.Random(1)
    marks = [*row.markers, "<", "\n", "[", "think>", " ", "<|"]
    for _ in range(150):
        words = [f"w{index}w" for index in range(choose.randint(1, 9))]
        text = "".join(choose.choice(marks) + word for word in words)
        for is_open in (False, True):
            outcome = parsed(row.make_parser(is_open=is_open), [text])
            assert [word for word in words if word not in outcome.order] == []
            assert parsed(row.make_parser(is_open=is_open), list(text)) == outcome


def test_harmony_tells_channels_apart() -> None:
    text = (
        "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>commentary<|message|>"
        "I look.<|end|><|start|>assistant<|channel|>commentary to=functions.get_weather "
        '<|constrain|>json<|message|>{"city": "Paris"}'
    )
    openai, gptoss = TOOL_PARSERS["openai"], REASONING_PARSERS["openai_gptoss"]
    for pieces in [[text], *halves(text)]:
        outcome = parsed(Pipeline(gptoss, openai, TOOLS), pieces)
        assert (outcome.reasoning, outcome.content) == ("Hm.", "I look.")
        assert outcome.calls == [("get_weather", '{"city": "Paris"}')]
    final = (
        "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>Yes"
    )
    outcome = parsed(Pipeline(gptoss, None), [final])
    assert (outcome.reasoning, outcome.content) == ("Hm.", "Yes")


def test_kimis_calls_end_its_thoughts() -> None:
    text = "<think>I call." + TOOL_PARSERS["kimi_k2"].sample
    row = REASONING_PARSERS["kimi_k2"]
    outcome = parsed(Pipeline(row, TOOL_PARSERS["kimi_k2"], TOOLS), list(text))
    assert (outcome.reasoning, outcome.content) == ("I call.", "")
    assert outcome.ids == ["functions.get_weather:0"]


def test_minimax_thoughts_may_stay_in_the_content() -> None:
    row = REASONING_PARSERS["minimax_m2_append_think"]
    outcome = parsed(parser(row, "]~b]ai\n<think>\n"), ["so</think>", "yes"])
    assert (outcome.reasoning, outcome.content) == ("", "<think>so</think>yes")


def test_other_names_are_rows_and_unsupported_ones_are_not() -> None:
    assert set(ALIASES) <= set(REASONING_PARSERS)
    assert not set(UNSUPPORTED) & set(REASONING_PARSERS)


@pytest.mark.parametrize("row", TOOL_PARSERS.values(), ids=TOOL_PARSERS.keys())
def test_a_tool_formats_partner_exists(row: object) -> None:
    assert getattr(row, "partner", None) in {None, *REASONING_PARSERS}
