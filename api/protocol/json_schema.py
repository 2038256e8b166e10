"""Is this a JSON Schema? The shapes of its keywords, checked without recursion.

What a grammar can be made of is the compiler's to say; this finds what no reader of the schema
could make sense of, and names the place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, cast

from engine.errors import InvalidParameterError

TYPES = frozenset({"null", "boolean", "object", "array", "number", "string", "integer"})

_ONE = frozenset(
    """additionalItems additionalProperties contains else if items not propertyNames then
    unevaluatedItems unevaluatedProperties""".split()
)
_MANY = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_BY_NAME = frozenset(
    {"$defs", "definitions", "dependentSchemas", "patternProperties", "properties"}
)
_MAX_PATH_CHARACTERS = 200


def verify_schema(schema: Any, path: str) -> None:
    """Raise InvalidParameterError naming the first place that is no JSON Schema.

    Arguments:
        path: where the schema is in the request.
    """
    waiting = [(schema, path)]
    while waiting:
        value, place = waiting.pop()
        if isinstance(value, bool):
            continue
        if not isinstance(value, dict):
            raise _wrong(place, "a schema is an object or a boolean")
        node = cast(dict[str, Any], value)
        for keyword, check in _CHECKS.items():
            if keyword in node and not check(node[keyword]):
                raise _wrong(f"{place}.{keyword}", _RULES[keyword])
        waiting.extend(_children(node, place))


def verify_object_schema(schema: dict[str, Any], path: str) -> None:
    """The same for the arguments of a function, which are an object."""
    if schema.get("type", "object") != "object":
        raise _wrong(f"{path}.type", "the arguments of a function are an object")
    verify_schema(schema, path)


def _children(node: dict[str, Any], place: str) -> Iterator[tuple[Any, str]]:
    for keyword, value in node.items():
        where = f"{place}.{keyword}"[:_MAX_PATH_CHARACTERS]
        if keyword in _BY_NAME:
            for name, child in value.items():
                yield child, f"{where}.{name}"[:_MAX_PATH_CHARACTERS]
        elif keyword in _MANY or (keyword == "items" and isinstance(value, list)):
            for index, child in enumerate(value):
                yield child, f"{where}[{index}]"
        elif keyword in _ONE:
            yield value, where


def _is_type(value: Any) -> bool:
    names = cast(list[Any], value) if isinstance(value, list) else [value]
    return bool(names) and all(isinstance(name, str) and name in TYPES for name in names)


def _is_text_list(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in cast(list[Any], value))


def _is_list(value: Any) -> bool:
    return isinstance(value, list) and bool(cast(list[Any], value))


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return _is_number(value) and value >= 0 and value == int(value)


_KINDS: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    ("type", _is_type, f"expected one of {', '.join(sorted(TYPES))}, or a list of them"),
    ("required", _is_text_list, "expected a list of names"),
    ("enum allOf anyOf oneOf", _is_list, "expected a list that is not empty"),
    ("$defs definitions dependentSchemas patternProperties properties", _is_object,
     "expected an object of schemas"),
    ("prefixItems", lambda value: isinstance(value, list), "expected a list of schemas"),
    ("$ref pattern format", _is_text, "expected a string"),
    ("minimum maximum multipleOf", _is_number,
     "expected a number"),
    ("minLength maxLength minItems maxItems minProperties maxProperties", _is_count,
     "expected a whole number that is not negative"),
)  # fmt: skip
_CHECKS = {name: check for names, check, _ in _KINDS for name in names.split()}
_RULES = {name: rule for names, _, rule in _KINDS for name in names.split()}


def _wrong(place: str, reason: str) -> InvalidParameterError:
    where = place[:_MAX_PATH_CHARACTERS]
    return InvalidParameterError(
        f"Invalid schema: '{where}': {reason}.", param=where, code="invalid_json_schema"
    )
