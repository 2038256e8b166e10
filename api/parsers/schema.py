"""The little that parsers and grammars ask of a JSON schema: which types a value may have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

ALL_KINDS = frozenset({"string", "integer", "number", "boolean", "null", "object", "array"})
_MAX_DEPTH = 16
_MAX_PARTS = 256
Schema = Mapping[str, Any]


def resolved(schema: Any, root: Schema) -> Schema:
    """The schema a local `$ref` stands for; {} if it stands for none."""
    for _ in range(_MAX_DEPTH):
        if not isinstance(schema, Mapping):
            return {}
        reference = cast(Schema, schema).get("$ref")
        if reference is None:
            return cast(Schema, schema)
        schema = _followed(reference, root)
    return {}


def _followed(reference: Any, root: Schema) -> Any:
    if not isinstance(reference, str) or not reference.startswith("#/"):
        return None
    target: Any = root
    for key in reference[2:].split("/"):
        if not isinstance(target, Mapping):
            return None
        target = cast(Schema, target).get(key.replace("~1", "/").replace("~0", "~"))
    return target


def properties(schema: Schema) -> dict[str, Any]:
    """The properties that an object's schema names."""
    named = resolved(schema, schema).get("properties")
    return dict(cast(Schema, named)) if isinstance(named, Mapping) else {}


def kinds(schema: Any, root: Schema) -> frozenset[str]:
    """JSON types a value may have; all of them if the schema does not say."""
    found: set[str] = set()
    seen: list[Schema] = []
    todo = [schema]
    # each part is visited once, however often others name it
    while todo:
        current = resolved(todo.pop(), root)
        if any(current is one for one in seen):
            continue
        seen.append(current)
        options = _options(current)
        if len(seen) > _MAX_PARTS or ((own := _own_kinds(current)) == ALL_KINDS and not options):
            return ALL_KINDS
        found |= own if own != ALL_KINDS else frozenset()
        todo += options if own == ALL_KINDS else []
    return frozenset(found) or ALL_KINDS


def fixed_values(schema: Any, root: Schema) -> list[Any]:
    """The values that a schema or its alternatives list one by one."""
    found: list[Any] = []
    seen: list[Schema] = []
    todo = [schema]
    while todo and len(seen) < _MAX_PARTS:
        current = resolved(todo.pop(0), root)
        if any(current is one for one in seen):
            continue
        seen.append(current)
        listed = [current["const"]] if "const" in current else current.get("enum")
        found += cast("list[Any]", listed) if isinstance(listed, list) else []
        todo += _options(current)
    return found


def _own_kinds(schema: Schema) -> frozenset[str]:
    types = schema.get("type")
    if isinstance(types, str):
        return frozenset({types}) & ALL_KINDS or ALL_KINDS
    if isinstance(types, list):
        return frozenset(map(str, cast("list[Any]", types))) & ALL_KINDS or ALL_KINDS
    if "const" in schema:
        return frozenset({kind_of(schema["const"])})
    if isinstance(schema.get("enum"), list):
        return frozenset(map(kind_of, schema["enum"])) or ALL_KINDS
    return ALL_KINDS


def _options(schema: Schema) -> list[Any]:
    lists = (schema.get(word) for word in ("anyOf", "oneOf", "allOf"))
    return next((cast("list[Any]", each) for each in lists if isinstance(each, list)), [])


def kind_of(value: Any) -> str:
    """The JSON type of a value."""
    if isinstance(value, bool):
        return "boolean"
    for kind, types in _PYTHON_TYPES:
        if isinstance(value, types):
            return kind
    return "null"


_PYTHON_TYPES: tuple[tuple[str, type], ...] = (
    ("string", str),
    ("integer", int),
    ("number", float),
    ("object", dict),
    ("array", list),
)
