"""Schemas are told from what is none, by place."""

from __future__ import annotations

from typing import Any

import pytest

from api.protocol.json_schema import verify_object_schema, verify_schema
from engine.errors import InvalidParameterError

DEEP: dict[str, Any] = {"type": "string"}
for _ in range(5000):
    DEEP = {"items": DEEP}


@pytest.mark.parametrize(
    "schema",
    [
        {},
        True,
        {"type": ["string", "null"], "enum": ["a", None]},
        {"properties": {"type": {"type": "string"}, "items": True}, "required": ["type"]},
        {"items": [{"type": "null"}, False]},
        {"$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}, {"minLength": 2}]}}},
        {"default": {"type": 7}, "x-own": 1},
        DEEP,
    ],
)
def test_schemas_pass(schema: Any) -> None:
    verify_schema(schema, "p")


@pytest.mark.parametrize(
    ("schema", "place"),
    [
        (1, "p"),
        ({"type": "text"}, "p.type"),
        ({"type": []}, "p.type"),
        ({"properties": []}, "p.properties"),
        ({"properties": {"a": {"type": 1}}}, "p.properties.a.type"),
        ({"properties": {"a": None}}, "p.properties.a"),
        ({"anyOf": []}, "p.anyOf"),
        ({"anyOf": [{}, 2]}, "p.anyOf[1]"),
        ({"items": {"enum": []}}, "p.items.enum"),
        ({"required": [1]}, "p.required"),
        ({"$defs": {"a": {"not": []}}}, "p.$defs.a.not"),
        ({"maxItems": -1}, "p.maxItems"),
        ({"minimum": "1"}, "p.minimum"),
        ({"$ref": 1}, "p.$ref"),
    ],
)
def test_what_is_no_schema_is_named_by_place(schema: Any, place: str) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        verify_schema(schema, "p")
    assert (caught.value.param, caught.value.code) == (place, "invalid_json_schema")


def test_the_arguments_of_a_function_are_an_object() -> None:
    verify_object_schema({}, "p")
    with pytest.raises(InvalidParameterError) as caught:
        verify_object_schema({"type": "string"}, "p")
    assert caught.value.param == "p.type"
