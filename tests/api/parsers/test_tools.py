"""Every tool parser: any cut of the text gives the same, and no text gets lost."""

from __future__ import annotations

import json
import random
import re
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.parsers.tool_spec import ToolSpec
from api.parsers.tools import ALIASES, FORMATS, TOOL_PARSERS, UNSUPPORTED
from api.parsers.tools.format import ToolFormat
from tests.api.parsers.outcome import Outcome, halves, parsed
from tests.api.parsers.rich_samples import RICH, RICH_TOOLS, VALUES
from tests.api.parsers.samples import TOOLS

EVERY = pytest.mark.parametrize("row", FORMATS, ids=lambda row: row.name)
FUZZ = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


def whole(row: ToolFormat, text: str, tools: tuple[ToolSpec, ...] = RICH_TOOLS) -> Outcome:
    return parsed(row.make_parser(tools), [text])


@EVERY
def test_the_documented_sample_is_a_call(row: ToolFormat) -> None:
    outcome = whole(row, row.sample, TOOLS)
    assert outcome.content == ""
    assert outcome.calls == [("get_weather", '{"city": "Paris"}')]


@EVERY
def test_values_keep_their_types_and_calls_their_order(row: ToolFormat) -> None:
    outcome = whole(row, RICH[row.name])
    assert outcome.content == ""
    assert [name for name, _ in outcome.calls] == ["f", "g"]
    assert json.loads(outcome.calls[0][1]) == VALUES
    assert outcome.calls[1][1] == "{}"


@EVERY
def test_text_around_calls_is_content(row: ToolFormat) -> None:
    if row.name in ("xlam", "pythonic", "llama3_json", "openai"):
        pytest.skip("these have no calls within text")
    text = f"Look:\n{row.sample}\n\nDone </b>."
    outcome = whole(row, text, TOOLS)
    assert outcome.calls == [("get_weather", '{"city": "Paris"}')]
    assert outcome.content == "Look:\n\n\nDone </b>."


@EVERY
def test_every_cut_gives_the_same(row: ToolFormat) -> None:
    texts = [(row.sample, TOOLS), (RICH[row.name], RICH_TOOLS), (f"a <b{row.sample} c", TOOLS)]
    texts += [(row.sample[: len(row.sample) // 2], TOOLS), (row.sample[3:], TOOLS)]
    for text, tools in texts:
        expected = whole(row, text, tools)
        for pieces in halves(text):
            assert parsed(row.make_parser(tools), pieces) == expected


@EVERY
def test_arguments_stream_before_the_call_is_complete(row: ToolFormat) -> None:
    long = "word " * 40
    text = row.sample.replace("Paris", long)
    parser = row.make_parser(
        [
            ToolSpec(
                name="get_weather",
                parameters={"type": "object", "properties": {"city": {"type": "string"}}},
            )
        ]
    )
    events = parser.push(text[: text.index(long) + 150])
    assert "word word" in "".join(getattr(event, "arguments", "") for event in events)


def fragments(row: ToolFormat) -> list[str]:
    marks = [*row.markers, "<", "[", "]", "{", "}", '"', "'", "\\", ":", ",", "(", ")", "=", "\n"]
    marks += re.findall(r"<[^<>]*>|\w+|\W", row.sample)
    marks += ['{"name": "f", "arguments": {', "f(", "true", "12", "1e5", "\\u00e9", "\\ud83d", "`"]
    return sorted(set(marks))


def verify_nothing_is_lost(row: ToolFormat, pieces: list[str]) -> None:
    """Words between fragments are all told, whatever they are taken for."""
    words = [f"w{index}w" for index in range(len(pieces))]
    text = "".join(piece + word for piece, word in zip(pieces, words, strict=True))
    outcome = whole(row, text)
    told = outcome.order + " ".join(filter(None, outcome.ids))
    assert [word for word in words if word not in told] == []
    assert parsed(row.make_parser(RICH_TOOLS), list(text)) == outcome


@EVERY
def test_malformed_text_never_raises_and_never_gets_lost(row: ToolFormat) -> None:
    @FUZZ
    @given(st.lists(st.sampled_from(fragments(row)), max_size=30))
    def fuzz(pieces: list[str]) -> None:
        verify_nothing_is_lost(row, pieces)
        text = "".join(pieces)
        assert parsed(row.make_parser(RICH_TOOLS), list(text)) == whole(row, text)

    fuzz()


def mutated(text: str, seed: int) -> str:
    choose = random.Random(seed)
    for _ in range(choose.randint(1, 4)):
        start = choose.randrange(len(text))
        end = min(len(text), start + choose.randint(0, 6))
        text = text[:start] + choose.choice(["", "w", text[start:end] * 2, '"', "}"]) + text[end:]
    return text


def verify_mutations(row: ToolFormat, num_seeds: int) -> None:
    for seed in range(num_seeds):
        text = mutated(RICH[row.name], seed)
        outcome = whole(row, text)
        assert parsed(row.make_parser(RICH_TOOLS), list(text)) == outcome
        cut = seed % len(text)
        assert parsed(row.make_parser(RICH_TOOLS), [text[:cut], text[cut:]]) == outcome


@EVERY
def test_damaged_calls_never_raise_and_cuts_agree(row: ToolFormat) -> None:
    verify_mutations(row, 40)


@pytest.mark.slow
@EVERY
def test_damaged_calls_never_raise_and_cuts_agree_at_length(row: ToolFormat) -> None:
    verify_mutations(row, 800)
    choose = random.Random(0)
    parts = fragments(row)
    for _ in range(800):
        verify_nothing_is_lost(row, choose.choices(parts, k=choose.randint(1, 60)))


def seconds_to_read(row: ToolFormat, unit: str, num_characters: int) -> float:
    text = unit * (num_characters // len(unit))
    began = time.process_time()
    parsed(row.make_parser(TOOLS), [text])
    parsed(row.make_parser(TOOLS), [text[at : at + 4] for at in range(0, len(text), 4)])
    return time.process_time() - began


@EVERY
def test_a_long_answer_of_beginnings_is_read_in_seconds(row: ToolFormat) -> None:
    opening = row.sample[: row.sample.index("Paris")]
    for unit in ("<", opening):
        assert seconds_to_read(row, unit, 30_000) < 5, unit


@pytest.mark.slow
@EVERY
def test_reading_is_linear(row: ToolFormat) -> None:
    opening = row.sample[: row.sample.index("Paris")]
    for unit in ("<", "[", "{", '"', "\\", "\n", " ", opening, *row.markers):
        assert seconds_to_read(row, unit, 100_000) < 20, unit


def test_other_names_are_rows_and_unsupported_ones_are_not() -> None:
    assert set(ALIASES) <= set(TOOL_PARSERS)
    assert not set(UNSUPPORTED) & set(TOOL_PARSERS)
    assert len(TOOL_PARSERS) == len(FORMATS) + len(ALIASES)


FIXED = {"enum": ["x", "1", 2, None, True, "null"]}
LISTED = (
    FIXED,
    {"anyOf": [FIXED, {"type": "integer", "minimum": 5}]},
    {"$ref": "#/$defs/e", "$defs": {"e": FIXED}},
)


@pytest.mark.parametrize("schema", LISTED)
@pytest.mark.parametrize(
    ("written", "meant"), [("x", "x"), ("1", "1"), ("2", 2), ("null", None), ("true", True)]
)
def test_a_listed_value_is_the_one_that_is_written_so(
    schema: dict[str, object], written: str, meant: object
) -> None:
    parameters = {"type": "object", "properties": {"e": schema}, "$defs": {"e": FIXED}}
    text = f"<tool_call>\n<function=f>\n<parameter=e>\n{written}\n</parameter>\n</function>\n"
    tool = ToolSpec(name="f", parameters=parameters)
    calls = whole(TOOL_PARSERS["qwen3_coder"], f"{text}</tool_call>", (tool,)).calls
    assert json.loads(calls[0][1]) == {"e": meant}
