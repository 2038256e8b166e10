"""Grammars of every tool format: what they admit is a valid call to the format's own parser."""

from __future__ import annotations

import contextlib
import json

import jsonschema
import pytest

from api.parsers.tool_spec import ToolSpec, by_name
from api.parsers.tools import FORMATS, TOOL_PARSERS
from api.parsers.tools.format import ToolFormat
from engine.errors import InvalidParameterError
from tests.api.parsers.outcome import parsed
from tests.api.parsers.samples import TOOLS, WEATHER
from tests.api.parsers.vocabulary import Vocabulary, vocabulary

EVERY = pytest.mark.parametrize("row", FORMATS, ids=lambda row: row.name)
SPECIAL = pytest.mark.parametrize("is_special", [True, False], ids=["tokens", "text"])


def words(row: ToolFormat, is_special: bool) -> Vocabulary:
    return vocabulary(row.markers if is_special else ())


def sample(row: ToolFormat, is_special: bool = True) -> str:
    """The sample as the grammar has it: no end of turn, the tokenizer's own variant."""
    if row.name == "mistral" and not is_special:
        return '[TOOL_CALLS] [{"name": "get_weather", "arguments": {"city": "Paris"}}]'
    text = row.sample.removesuffix("<|call|>")
    return text.removeprefix("<|python_start|>").removesuffix("<|python_end|>")


def marked(row: ToolFormat) -> bool:
    return bool(row.call_grammar.trigger)


@EVERY
@SPECIAL
def test_the_sample_is_admitted_and_other_arguments_are_not(
    row: ToolFormat, is_special: bool
) -> None:
    vocabulary = words(row, is_special)
    grammar = row.grammar(TOOLS, special_tokens=vocabulary.special)
    text = sample(row, is_special)
    assert vocabulary.admits(grammar, text)
    assert not vocabulary.admits(grammar, text.replace("Paris", "Oslo"))
    assert not vocabulary.admits(grammar, text.replace("get_weather", "get_news"))
    assert not vocabulary.admits(grammar, "Paris is fine.")
    assert not vocabulary.admits(grammar, "")


@EVERY
@SPECIAL
def test_every_text_admitted_is_calls_with_valid_arguments(
    row: ToolFormat, is_special: bool
) -> None:
    vocabulary = words(row, is_special)
    grammar = row.grammar(TOOLS, special_tokens=vocabulary.special)
    tools = by_name(TOOLS)
    num_calls = 0
    for seed in range(12):
        text = vocabulary.random_text(grammar, seed)
        if text is None:
            continue
        outcome = parsed(row.make_parser(TOOLS), [text])
        assert outcome.content == "", text
        assert outcome.calls, text
        for name, arguments in outcome.calls:
            jsonschema.validate(json.loads(arguments), tools[name].schema)
            num_calls += 1
    assert num_calls


@EVERY
def test_one_call_is_the_most_without_parallel(row: ToolFormat) -> None:
    vocabulary = words(row, True)
    grammar = row.grammar(TOOLS, parallel=False, special_tokens=vocabulary.special)
    for seed in range(6):
        text = vocabulary.random_text(grammar, seed)
        if text is not None:
            assert len(parsed(row.make_parser(TOOLS), [text]).calls) == 1


@EVERY
def test_only_the_named_tools_may_be_called(row: ToolFormat) -> None:
    vocabulary = words(row, True)
    grammar = row.grammar(TOOLS, names=["note"], special_tokens=vocabulary.special)
    assert not vocabulary.admits(grammar, sample(row))


@EVERY
@SPECIAL
def test_calls_within_text_are_bound_and_text_is_free(row: ToolFormat, is_special: bool) -> None:
    vocabulary = words(row, is_special)
    grammar = row.grammar(TOOLS, at_least_one=False, special_tokens=vocabulary.special)
    text = sample(row, is_special)
    assert vocabulary.admits(grammar, text)
    assert not vocabulary.admits(grammar, text.replace("Paris", "Oslo"))
    if row.name == "openai":
        assert vocabulary.admits(grammar, "<|channel|>final<|message|>Fine.")
        return
    assert vocabulary.admits(grammar, "Paris is fine.")
    if marked(row):
        assert vocabulary.admits(grammar, f"Let me see.\n{text}")
        assert not vocabulary.admits(grammar, f"Let me see.\n{text.replace('Paris', 'Oslo')}")


@EVERY
def test_a_custom_tools_regex_binds_its_input(row: ToolFormat) -> None:
    vocabulary = words(row, True)
    tools = [ToolSpec(name="run", is_custom=True, input_regex="[ab]{2,4}")]
    grammar = row.grammar(tools, special_tokens=vocabulary.special)
    text = next(
        text for seed in range(20) if (text := vocabulary.random_text(grammar, seed)) is not None
    )
    (name, arguments), *_ = parsed(row.make_parser(tools), [text]).calls
    assert name == "run"
    assert set(json.loads(arguments)["input"]) <= {"a", "b"}


RAW = (
    "qwen3_coder",
    "seed_oss",
    "minimax_m2",
    "deepseek_v32",
    "deepseek_v4",
    "step3",
    "glm45",
    "glm47",
    "gemma4",
)


@pytest.mark.parametrize("name", RAW)
def test_a_custom_tools_lark_grammar_binds_raw_input(name: str) -> None:
    row = TOOL_PARSERS[name]
    vocabulary = words(row, True)
    tools = [ToolSpec(name="run", is_custom=True, input_lark='start: ("a" | "b"){2,4}')]
    grammar = row.grammar(tools, special_tokens=vocabulary.special)
    text = vocabulary.random_text(grammar, 1)
    assert text is not None
    (_, arguments), *_ = parsed(row.make_parser(tools), [text]).calls
    assert set(json.loads(arguments)["input"]) <= {"a", "b"}


@pytest.mark.parametrize("name", ["hermes", "mistral", "pythonic", "llama3_json"])
def test_a_lark_grammar_within_json_is_refused_by_the_formats_name(name: str) -> None:
    tools = [ToolSpec(name="run", is_custom=True, input_lark='start: "a"')]
    with pytest.raises(InvalidParameterError, match=name):
        TOOL_PARSERS[name].grammar(tools)


def test_alternatives_beside_properties_are_refused_where_arguments_are_tags() -> None:
    tool = ToolSpec(name="odd", parameters={"anyOf": [{"required": ["a"]}, {"required": ["b"]}]})
    with pytest.raises(InvalidParameterError, match=r"qwen3_coder.*anyOf"):
        TOOL_PARSERS["qwen3_coder"].grammar([tool])
    assert TOOL_PARSERS["hermes"].grammar([tool, WEATHER])


def doubling(depth: int) -> dict[str, object]:
    """Definitions of which each names the next twice."""
    definitions: dict[str, object] = {
        f"d{level}": {"anyOf": [{"$ref": f"#/$defs/d{level + 1}"}] * 2} for level in range(depth)
    }
    return {
        "type": "object",
        "properties": {"a": {"$ref": "#/$defs/d0"}},
        "$defs": definitions | {f"d{depth}": {"type": "integer"}},
    }


HOSTILE = [
    doubling(40),
    {"properties": {"a": {"anyOf": [{"$ref": "#/properties/a"}] * 2}}},
    {"properties": {"a": {"type": "array", "items": {"$ref": "#/properties/a"}}}},
    {"properties": {"a": {"enum": 5}}},
    {"properties": {"a": {"anyOf": 5}}},
    {"properties": {"a": {"type": "string", "pattern": 5}}},
    {"properties": {"a": 5}, "required": 5},
    {"properties": 5, "required": ["a", 7]},
    {"type": ["object", 5], "properties": {"a": {"type": [5]}}},
    {"$ref": "#/$ref"},
]


@EVERY
@pytest.mark.parametrize("schema", HOSTILE, ids=lambda schema: str(schema)[:40])
def test_a_hostile_schema_gives_a_grammar_or_is_refused(
    row: ToolFormat, schema: dict[str, object]
) -> None:
    tool = ToolSpec(name="f", parameters=schema)
    parsed(row.make_parser([tool]), [row.sample.replace("get_weather", "f").replace("city", "a")])
    with contextlib.suppress(InvalidParameterError):
        assert row.grammar([tool])
