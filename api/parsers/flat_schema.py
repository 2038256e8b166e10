"""A part of a schema as one object: what it refers to and all that must hold with it, merged."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, cast

from api.parsers.schema import Schema, resolved

NOTES = frozenset(
    """$comment $id $schema default deprecated description example examples id readOnly title
    writeOnly""".split()
)
"""Words that allow and forbid nothing."""
_OTHERS = frozenset({"additionalProperties", "patternProperties"})
_MAX_DEPTH = 16


class Unmergeable(Exception):
    """A word stands there twice, and no one word means both."""

    def __init__(self, word: str) -> None:
        super().__init__(word)
        self.word = word


def flat(schema: Any, root: Schema, depth: int = 0) -> dict[str, Any]:
    """`schema` without `$ref` and `allOf` of its own.

    Raises:
        Unmergeable: they cannot be put together, or refer to each other.
    """
    if depth > _MAX_DEPTH:
        raise Unmergeable("$ref")
    if not isinstance(schema, Mapping):
        return {}
    own = dict(cast(Schema, schema))
    parts = own.pop("allOf", [])
    if "$ref" in own:
        target = {"$ref": own.pop("$ref")}
        found = resolved(target, root)
        parts = [*parts, found]
    for part in parts:
        own = merged(own, flat(part, root, depth + 1))
    return own


def merged(one: Schema, other: Schema) -> dict[str, Any]:
    """A schema of what both allow.

    Raises:
        Unmergeable: there is none that is as simple.
    """
    found = dict(one)
    for word, value in other.items():
        if word not in found:
            found[word] = value
        elif word in _MERGERS:
            found[word] = _MERGERS[word](found[word], value)
        elif word == "properties" and not {*one, *other} & _OTHERS:
            found[word] = merged(found[word], value)
        elif word not in NOTES and json.dumps(found[word]) != json.dumps(value):
            raise Unmergeable(word)
    return found


def _common(one: Any, other: Any) -> Any:
    both = [kind for kind in _listed(one) if kind in _listed(other)]
    if not both:
        raise Unmergeable("type")
    return both[0] if len(both) == 1 else both


def _either(one: Any, other: Any) -> Any:
    return [*one, *(name for name in other if name not in one)]


def _listed(value: Any) -> list[Any]:
    return cast("list[Any]", value) if isinstance(value, list) else [value]


_MERGERS: Mapping[str, Callable[[Any, Any], Any]] = {
    "type": _common,
    "required": _either,
    **dict.fromkeys(("minLength", "minItems", "minimum"), max),
    **dict.fromkeys(("maxLength", "maxItems", "maximum"), min),
}
