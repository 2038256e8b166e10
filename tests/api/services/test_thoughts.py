"""Tokens between the marks of thoughts are counted, however the text is cut."""

from __future__ import annotations

import pytest

from api.services.generation.thoughts import ThoughtMarks, ThoughtMeter

TAGS = ThoughtMarks(start="<think>", ends=("</think>",), is_open=False)
OPEN = ThoughtMarks(start="<think>", ends=("</think>", "<call>"), is_open=True)
MANY = ThoughtMarks(start="[a]", ends=("[/a]",), is_open=False, is_repeated=True)


def count(marks: ThoughtMarks, tokens: list[str], *, is_finished: bool = True) -> int:
    meter = ThoughtMeter(marks)
    offset = 0
    for token in tokens:
        meter.take_token(offset)
        meter.take_text(token)
        offset += len(token)
    if is_finished:
        meter.finish()
    return meter.num_tokens


@pytest.mark.parametrize(
    ("marks", "tokens", "expected"),
    [
        (TAGS, ["<think>", "\n", "so", "\n", "</think>", "\n\n", "yes"], 3),
        (TAGS, ["\n", "<th", "ink>", "so", " it", "</", "thi", "nk>", "yes"], 2),
        (TAGS, ["yes", "<think>", "so", "</think>"], 0),
        (TAGS, ["<think>", "so", "</thin"], 2),
        (TAGS, ["<thi", "s"], 0),
        (TAGS, ["<think>", "</think>", "<think>", "no", "</think>"], 0),
        (OPEN, ["so", " it", "</think>", "yes"], 2),
        (OPEN, ["<think>", "so", "</think>", "yes"], 1),
        (OPEN, ["so", " it", "<call>", "f"], 2),
        (OPEN, ["so", " it"], 2),
        (MANY, ["x", "[a]", "1", "2", "[/", "a]", "y", "[a", "]", "3"], 3),
        (TAGS, [], 0),
    ],
)
def test_what_is_between_the_marks_counts(
    marks: ThoughtMarks, tokens: list[str], expected: int
) -> None:
    assert count(marks, tokens) == expected


def test_while_it_grows_only_certain_tokens_count() -> None:
    assert count(TAGS, ["<think>", "so it ", "goes", "</", "thi"], is_finished=False) == 2


def test_tokens_without_text_of_their_own_count_by_their_place() -> None:
    meter = ThoughtMeter(OPEN)
    for offset, text in ((0, ""), (0, ""), (0, "你"), (1, "</think>"), (9, "a")):
        meter.take_token(offset)
        meter.take_text(text)
    meter.finish()
    assert meter.num_tokens == 3
