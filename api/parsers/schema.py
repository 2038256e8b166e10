"""The little that parsers and grammars ask of a JSON schema: which types a value may have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

ALL_KINDS = frozenset({"string", "integer", "number", "boolean", "null", "object", "array"})
_MAX_DEPTH = 16
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


def kinds(schema: Any, root: Schema, depth: int = 0) -> frozenset[str]:
    """JSON types a value may have; all of them if the schema does not say."""
    found = resolved(schema, root)
    types = found.get("type")
    if isinstance(types, str):
        return frozenset({types}) & ALL_KINDS or ALL_KINDS
    if isinstance(types, list):
        return frozenset(map(str, cast("list[Any]", types))) & ALL_KINDS or ALL_KINDS
    if "const" in found:
        return frozenset({_kind_of(found["const"])})
    if isinstance(found.get("enum"), list):
        return frozenset(map(_kind_of, found["enum"])) or ALL_KINDS
    for word in ("anyOf", "oneOf", "allOf"):
        options = found.get(word)
        if isinstance(options, list) and options and depth < _MAX_DEPTH:
            each = [kinds(option, root, depth + 1) for option in cast("list[Any]", options)]
            together = each[0].intersection if word == "allOf" else each[0].union
            return together(*each) or ALL_KINDS
    return ALL_KINDS


def _kind_of(value: Any) -> str:
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
