"""`response_format`, `structured_outputs` and `guided_*`: which grammar reaches the engine."""

from __future__ import annotations

from typing import Any

import pytest

from api.protocol.structured import StructuredFields
from api.services.guidance.structured import find_wanted
from engine.errors import InvalidParameterError

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}

ASKED: list[tuple[dict[str, Any], str, str]] = [
    ({"response_format": {"type": "json_object"}}, "response_format", "json"),
    (
        {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "x", "schema": SCHEMA},
            }
        },
        "response_format.json_schema.schema",
        "json",
    ),
    ({"structured_outputs": {"json": SCHEMA}}, "structured_outputs.json", "json"),
    ({"structured_outputs": {"regex": "a"}}, "structured_outputs.regex", "regex"),
    ({"structured_outputs": {"choice": ["a"]}}, "structured_outputs.choice", "choice"),
    ({"structured_outputs": {"grammar": 'start: "a"'}}, "structured_outputs.grammar", "grammar"),
    ({"structured_outputs": {"json_object": True}}, "structured_outputs.json_object", "json"),
    ({"guided_json": SCHEMA}, "guided_json", "json"),
    ({"guided_regex": "a"}, "guided_regex", "regex"),
    ({"guided_choice": ["a"]}, "guided_choice", "choice"),
    ({"guided_grammar": 'start: "a"'}, "guided_grammar", "grammar"),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "param", "kind"), ASKED)
def test_every_source_is_found_under_its_own_name(
    fields: dict[str, Any], param: str, kind: str
) -> None:
    wanted = find_wanted(StructuredFields.model_validate(fields))
    assert wanted is not None
    assert (wanted.param, wanted.kind) == (param, kind)


@pytest.mark.parametrize("fields", [{}, {"response_format": {"type": "text"}}])
def test_text_is_not_constrained(fields: dict[str, Any]) -> None:
    assert find_wanted(StructuredFields.model_validate(fields)) is None


@pytest.mark.parametrize("first", range(len(ASKED)))
def test_two_sources_at_once_are_refused(first: int) -> None:
    one, other = ASKED[first][0], ASKED[(first + 5) % len(ASKED)][0]
    if one.keys() & other.keys():
        name = next(iter(one))
        other = {name: one[name] | other[name]}
    with pytest.raises(InvalidParameterError, match="only one kind"):
        find_wanted(StructuredFields.model_validate(one | other))


async def test_the_grammar_reaches_the_engine_in_chat_and_completions(speaking: Any) -> None:
    speaker = speaking()
    await speaker.chat_answer(response_format={"type": "json_object"})
    await speaker.complete(["one", "two"], guided_regex="[0-9]+")
    params = [request.grammar.param for request in speaker.engine.requests]
    assert params == ["response_format", "guided_regex", "guided_regex"]


async def test_the_operators_options_hold_where_a_request_has_none(speaking: Any) -> None:
    async def source(fields: dict[str, Any], **config: bool) -> str:
        speaker = speaking("{}", structured_outputs_config=config)
        await speaker.chat(**fields)
        return speaker.engine.requests[0].grammar.source

    formatted = {"response_format": {"type": "json_object"}}
    closed = {"structured_outputs": {"json_object": True, "disable_any_whitespace": True}}
    assert await source(formatted, disable_any_whitespace=True) == await source(closed)
    assert await source(formatted, disable_any_whitespace=False) == await source(formatted)
    own = {"structured_outputs": {"json": SCHEMA, "disable_additional_properties": True}}
    assert await source(own, disable_any_whitespace=True) == await source(own)
