"""What forced and strict calls are held to where a schema has words that no grammar enforces."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from api.model.formats import ModelFormats
from api.parsers.tools import TOOL_PARSERS
from api.services.anthropic.service import create_message
from engine.errors import InvalidParameterError
from tests.api.services.grammars import accepts

TEMPLATE = "{{ tools | length if tools else 0 }}{{ messages[0].content }}"
LOOKED_AT = "tools[0].function.parameters"
NO_OTHER = {"additionalProperties": False}
SET = {
    "type": "object",
    "properties": {
        "b": {"type": "array", "items": {"enum": [1, 2]}, "uniqueItems": True},
        "u": {"type": "string", "maxLength": 2, "format": "foo", "pattern": "(?=a)b"},
        "not": {"type": "integer", "not": {"const": 3}},
    },
    "required": ["b"],
    **NO_OTHER,
}
LEFT_OUT = ("b.uniqueItems", "u.format", "u.pattern", "not.not")


def forced(schema: Any, **more: Any) -> dict[str, Any]:
    function = {"name": "f", "parameters": schema, **more}
    return {"tools": [{"type": "function", "function": function}], "tool_choice": "required"}


def hermes(arguments: Any) -> str:
    return f'<tool_call>\n{{"name": "f", "arguments": {json.dumps(arguments)}}}\n</tool_call>'


def coder(**arguments: str) -> str:
    """As `qwen3_coder` writes a call."""
    given = (f"<parameter={key}>\n{text}\n</parameter>\n" for key, text in arguments.items())
    return f"<tool_call>\n<function=f>\n{''.join(given)}</function>\n</tool_call>"


@pytest.fixture
def speaker_of(speaking: Any) -> Any:
    """Makes a speaker whose model writes calls in a format."""

    def make(format_name: str) -> Any:
        formats = ModelFormats(tools=TOOL_PARSERS[format_name])
        made = speaking("ok", template=TEMPLATE, formats=formats)
        made.engine.info = msgspec.structs.replace(made.engine.info, max_model_len=1024)
        return made

    return make


@pytest.mark.parametrize(
    "choice",
    [
        {"tool_choice": "required"},
        {"tool_choice": {"type": "function", "function": {"name": "f"}}},
    ],
)
async def test_a_forced_call_keeps_all_of_a_schema_that_can_be_enforced(
    speaker_of: Any, choice: Any
) -> None:
    speaker = speaker_of("hermes")
    answer = await speaker.chat_answer(**forced(SET) | choice)
    assert accepts(speaker, hermes({"b": [1, 1], "u": "xy", "not": 3}))
    for wrong in ({}, {"b": [3]}, {"b": 30}, {"x": 12, "b": [1]}, {"b": [1], "u": "xyz"}):
        assert not accepts(speaker, hermes(wrong)), wrong
    assert sorted(answer.unknown_fields) == sorted(
        f"{LOOKED_AT}.properties.{name}" for name in LEFT_OUT
    )


async def test_a_schema_that_is_enforced_whole_has_no_warning(speaker_of: Any) -> None:
    plain = {"type": "object", "properties": {"n": {"type": "integer", "format": "int64"}}}
    answer = await speaker_of("hermes").chat_answer(**forced(plain))
    assert answer.unknown_fields == ()


async def test_a_legacy_call_names_what_is_left_out_in_its_own_place(speaker_of: Any) -> None:
    fields = {"functions": [{"name": "f", "parameters": SET}], "function_call": {"name": "f"}}
    speaker = speaker_of("hermes")
    answer = await speaker.chat_answer(**fields)
    assert not accepts(speaker, hermes({}))
    assert f"functions[0].parameters.properties.{LEFT_OUT[0]}" in answer.unknown_fields


async def test_a_message_names_what_is_left_out_in_its_own_words(speaker_of: Any) -> None:
    speaker = speaker_of("hermes")
    body = {
        "model": "test-model", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 9,
        "tools": [{"name": "f", "input_schema": SET}],
        "tool_choice": {"type": "tool", "name": "f"},
    }  # fmt: skip
    answer = await create_message(speaker.context, body)
    assert not accepts(speaker, hermes({}))
    assert f"tools[0].input_schema.properties.{LEFT_OUT[0]}" in answer.unknown_fields


@pytest.mark.parametrize(
    ("schema", "left_out"),
    [
        ({"maxProperties": 2, "properties": {"a": {"type": "string"}, "b": {}, "c": {}},
          "required": []}, ".maxProperties"),
        ({"properties": {"a": {"oneOf": [{"type": "string"}, {"enum": ["x"]}]}}},
         ".properties.a.oneOf"),
        ({"properties": {"a": {"type": "string", "pattern": "["}}}, ".properties.a.pattern"),
    ],
)  # fmt: skip
async def test_words_that_cannot_be_enforced_beside_others_are_left_out_alone(
    speaker_of: Any, schema: Any, left_out: str
) -> None:
    speaker = speaker_of("hermes")
    whole = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"],
             **NO_OTHER, **schema}  # fmt: skip
    answer = await speaker.chat_answer(**forced(whole))
    assert accepts(speaker, hermes({"a": "x"}))
    assert not accepts(speaker, hermes({"a": 1}))
    assert answer.unknown_fields == (LOOKED_AT + left_out,)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"a": {"$ref": "http://x/y"}}, "required": ["a"]},
        {"type": "object", "properties": {"a": {"type": "array", "minItems": 2, "maxItems": 1}},
         "required": ["a"]},
    ],
)  # fmt: skip
async def test_a_forced_call_of_which_nothing_can_be_enforced_is_refused(
    speaker_of: Any, schema: Any
) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        await speaker_of("hermes").chat(**forced(schema))
    assert (caught.value.param, caught.value.code) == (LOOKED_AT, "invalid_grammar")


async def test_a_strict_schema_is_enforced_whole_or_refused(speaker_of: Any) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        await speaker_of("hermes").chat(**forced(SET, strict=True) | {"tool_choice": "auto"})
    assert (caught.value.param, caught.value.code) == (LOOKED_AT, "invalid_grammar")


def text(**properties: Any) -> dict[str, Any]:
    """The schema of arguments that a format writes as text."""
    return {"type": "object", "properties": properties, "required": [*properties], **NO_OTHER}


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "not": ({"type": "string", "not": {"const": "x"}}, "not"),
    "an unknown format": ({"type": "string", "format": "foo"}, "format"),
    "contains": ({"contains": {"const": 1}}, "contains"),
    "if": ({"if": {"minLength": 2}, "then": {"pattern": "a"}}, "if"),
    "oneOf that overlaps": ({"oneOf": [{"type": "string"}, {"const": "a"}]}, "oneOf"),
    "not in a choice": ({"anyOf": [{"type": "string", "not": {"const": "x"}}, {"type": "null"}]},
                        "not"),
    "numbers that strings may look like": ({"type": ["string", "integer"], "minimum": 3},
                                           "minimum"),
    "a pattern beside a list": ({"type": "string", "enum": ["a"], "pattern": "b"}, "pattern"),
    "two patterns": ({"pattern": "a", "allOf": [{"type": "string", "pattern": "b"}]}, "pattern"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("format_name", ["qwen3_coder", "pythonic", "gemma4"])
async def test_what_a_text_cannot_be_held_to_is_refused_where_it_is_strict(
    speaker_of: Any, case: str, format_name: str
) -> None:
    schema, word = REFUSED[case]
    speaker = speaker_of(format_name)
    with pytest.raises(InvalidParameterError, match=f"'{word}'") as caught:
        await speaker.chat(**forced(text(a=schema), strict=True))
    assert (caught.value.param, caught.value.code) == (LOOKED_AT, "invalid_grammar")


@pytest.mark.parametrize("case", REFUSED)
async def test_a_forced_text_is_held_to_the_rest(speaker_of: Any, case: str) -> None:
    schema, _ = REFUSED[case]
    speaker = speaker_of("qwen3_coder")
    answer = await speaker.chat_answer(**forced(text(a=schema, n={"enum": ["p", "q"]})))
    assert answer.unknown_fields
    assert accepts(speaker, coder(a="a", n="q"))
    for wrong in (coder(a="a"), coder(a="a", n="r"), coder(a="a", n="q", o="1")):
        assert not accepts(speaker, wrong), wrong


@pytest.mark.parametrize("format_name", ["qwen3_coder", "pythonic"])
async def test_words_beside_properties_are_left_out_of_a_forced_text(
    speaker_of: Any, format_name: str
) -> None:
    optional = text(a={"enum": ["p"]}) | {"anyOf": [{"required": ["a"]}, {"required": ["b"]}]}
    answer = await speaker_of(format_name).chat_answer(**forced(optional))
    assert answer.unknown_fields == (f"{LOOKED_AT}.anyOf",)
