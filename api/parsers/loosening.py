"""A tool's schema without the words of it that no grammar holds a call to.

Nothing is compiled here: each of `attempts` is looked at by the compiler in turn, and the first
that it takes has lost least.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, cast

from api.parsers.schema import Schema

Places = tuple[str, ...]

UNENFORCEABLE = frozenset(
    """$dynamicRef $recursiveRef contains dependencies dependentRequired dependentSchemas else if
    maxContains minContains not propertyNames then unevaluatedItems unevaluatedProperties
    uniqueItems""".split()
)
"""No grammar looks back at what was written, or says what a value is not."""
FORMATS = frozenset(
    "date date-time duration email hostname ipv4 ipv6 time unknown uri uuid".split()
)
"""Of strings, those that llguidance knows."""
_LOOKS_AROUND = re.compile(r"\(\?<?[=!]|(?<!\\)(\\\\)*\\[1-9k]")

_SINGLES = (
    ("minProperties", "maxProperties"),
    ("format",),
    ("pattern",),
    ("oneOf",),
    ("prefixItems",),
    ("patternProperties",),
    ("allOf",),
    ("minLength", "maxLength"),
    ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
)
"""What cannot be enforced beside some other words, or in some formats."""
_AT_THE_TOP = frozenset({"allOf", "anyOf", "oneOf", "patternProperties"})
_ALL = frozenset(word for words in _SINGLES for word in words)

_ONE = frozenset({"additionalItems", "additionalProperties", "items"})
_MANY = frozenset({"allOf", "anyOf", "oneOf", "prefixItems", "items"})
_BY_NAME = frozenset({"$defs", "definitions", "patternProperties", "properties"})
_MAX_DEPTH = 128


def attempts(schema: Schema) -> Iterator[tuple[Schema, Places]]:
    """The schema with ever less in it, and the places of what was left out."""
    least, always = _without(schema, _is_unenforceable)
    if always:
        yield least, always
    for words in (*_SINGLES, tuple(_ALL)):
        less, places = _without(least, _is_one_of(frozenset(words)))
        if places:
            yield less, always + places
    top = tuple(f".{word}" for word in least if word in _AT_THE_TOP)
    if top:
        less = {word: value for word, value in least.items() if word not in _AT_THE_TOP}
        yield less, always + top
        less, places = _without(less, _is_one_of(_ALL))
        yield less, always + top + places


Leaves = Callable[[Schema, str], bool]


def _is_unenforceable(schema: Schema, word: str) -> bool:
    if word == "format":
        return schema[word] not in FORMATS and _may_be_string(schema)
    if word == "pattern":
        return _LOOKS_AROUND.search(str(schema[word])) is not None
    return word in UNENFORCEABLE


def _may_be_string(schema: Schema) -> bool:
    types = schema.get("type", "string")
    return types == "string" or (isinstance(types, list) and "string" in types)


def _is_one_of(words: frozenset[str]) -> Leaves:
    return lambda _, word: word in words


def _without(schema: Schema, leaves: Leaves) -> tuple[Schema, Places]:
    places: list[str] = []
    return _kept(schema, leaves, "", places, 0), tuple(places)


def _kept(schema: Any, leaves: Leaves, place: str, places: list[str], depth: int) -> Any:
    """Of a schema, and of those within it; the names of properties are no words."""
    if not isinstance(schema, dict) or depth > _MAX_DEPTH:
        return schema
    known = cast("dict[str, Any]", schema)
    kept: dict[str, Any] = {}

    def within(value: Any, where: str) -> Any:
        return _kept(value, leaves, where, places, depth + 1)

    for word, value in known.items():
        where = f"{place}.{word}"
        if leaves(known, word):
            places.append(where)
            if word == "oneOf" and "anyOf" not in known:  # at least one is less than just one
                kept["anyOf"] = [within(one, f"{where}[{i}]") for i, one in enumerate(value)]
        elif word in _BY_NAME and isinstance(value, dict):
            named = cast("dict[str, Any]", value)
            kept[word] = {key: within(one, f"{where}.{key}") for key, one in named.items()}
        elif word in _MANY and isinstance(value, list):
            listed = cast("list[Any]", value)
            kept[word] = [within(one, f"{where}[{i}]") for i, one in enumerate(listed)]
        else:
            kept[word] = within(value, where) if word in _ONE else value
    return kept
