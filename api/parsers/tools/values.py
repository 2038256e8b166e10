"""Grammars of values that are not JSON: raw text in tags, and literals of other dialects."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from api.parsers.arguments import raw_text
from api.parsers.schema import ALL_KINDS, Schema, kinds, resolved
from api.parsers.tool_spec import ToolSpec
from api.parsers.tools.grammar import GrammarWriter
from api.parsers.tools.strings import ended_text, raw_regexes
from api.parsers.tools.text_schema import (
    COMBINED,
    fixed,
    members_named,
    options_of,
    text_schema,
)
from engine.errors import InvalidParameterError

_DEFINITIONS = ("$defs", "definitions")
_MAX_DEPTH = 8
_EMPTY = '""'


def json_part(writer: GrammarWriter, schema: Schema, root: Schema) -> str:
    """The expression of a JSON value by a part of a tool's schema."""
    definitions = {key: root[key] for key in _DEFINITIONS if key in root}
    return writer.json({**definitions, **schema})


def arguments_of(writer: GrammarWriter, tool: ToolSpec) -> tuple[dict[str, Any], frozenset[str]]:
    """The properties of a tool's arguments, and which of them are required.

    Raises:
        InvalidParameterError: the schema is not that of an object with named properties.
    """
    schema = text_schema(writer, tool, tool.schema)
    unknown = [word for word in COMBINED if word in schema]
    if unknown:
        raise writer.refuse(tool, f"its schema has '{unknown[0]}' beside its properties")
    return members_named(writer, tool, schema)


def raw_value(writer: GrammarWriter, tool: ToolSpec, schema: Any, end: str) -> str:
    """The expression of a value as text, and `end` after it: strings raw, the rest JSON.

    Arguments:
        schema: a part of the tool's.

    Raises:
        InvalidParameterError: the schema has too many parts, or asks for what cannot be enforced.
    """
    writer.count_part(tool)
    if "string" not in kinds(schema, tool.schema):
        found = _referring(schema, tool.schema)
        return f"{json_part(writer, found, tool.schema)} {writer.literal(end)}"
    found = text_schema(writer, tool, schema)
    options = options_of(writer, tool, found)
    if options is not None:
        return _one_of(raw_value(writer, tool, option, end) for option in options)
    if "string" not in kinds(found, tool.schema):
        return f"{json_part(writer, found, tool.schema)} {writer.literal(end)}"
    return raw_string(writer, found, end)


def _referring(schema: Schema, root: Schema) -> Schema:
    """What a schema refers to, with what stands beside the reference."""
    if "$ref" not in schema:
        return schema
    own = {word: value for word, value in schema.items() if word != "$ref"}
    target = resolved({"$ref": schema["$ref"]}, root)
    return {**own, "allOf": [*own.get("allOf", []), target]} if own else target


def raw_string(writer: GrammarWriter, schema: Schema, end: str) -> str:
    """The expression of a string or fixed values as text, and `end` after it."""
    choices = fixed(schema)
    if choices is None:
        return ended_text(writer, raw_regexes(schema), end)
    return f"{_one_of(map(writer.literal, map(raw_text, choices)))} {writer.literal(end)}"


@dataclasses.dataclass(frozen=True)
class LiteralStyle:
    """How a dialect of `api.parsers.literals` is written.

    Attributes:
        string: the expression of a string by its schema.
        words: how true, false and null are written.
        key: the text of an object's key, up to its value.
        comma: between members.
    """

    string: Callable[[GrammarWriter, Schema], str]
    words: Mapping[Any, str]
    key: Callable[[str], str]
    comma: str = ", "


class LiteralGrammar:
    """The grammar of one tool's values in such a style."""

    def __init__(self, style: LiteralStyle, writer: GrammarWriter, tool: ToolSpec) -> None:
        self._style = style
        self._writer = writer
        self._tool = tool
        self._root = tool.schema

    def value(self, schema: Any, depth: int = 0) -> str:
        """The expression of a value.

        Raises:
            InvalidParameterError: the schema is too deep or recursive, or asks too much.
        """
        self._writer.count_part(self._tool)
        if depth > _MAX_DEPTH:
            raise self._refused(f"its schema is nested deeper than {_MAX_DEPTH}")
        found = text_schema(self._writer, self._tool, schema)
        options = options_of(self._writer, self._tool, found)
        if options is not None:
            return _one_of(self.value(option, depth + 1) for option in options)
        choices = fixed(found)
        if choices is not None:
            return _one_of(map(self._choice, choices))
        value_kinds = kinds(found, self._root)
        if value_kinds == ALL_KINDS:
            value_kinds = frozenset({"string", "number", "boolean", "null"})
        return _one_of(self._of(kind, found, depth) for kind in sorted(value_kinds))

    def _choice(self, value: Any) -> str:
        if isinstance(value, str):
            return self._style.string(self._writer, {"const": value})
        if isinstance(value, dict | list):
            raise self._refused("its schema has a list or object among fixed values")
        return self._writer.literal(self._word(value))

    def _word(self, value: Any) -> str:
        if isinstance(value, bool) or value is None:
            return self._style.words[value]
        return json.dumps(value)

    def _of(self, kind: str, schema: Schema, depth: int) -> str:
        if kind == "string":
            return self._style.string(self._writer, schema)
        if kind == "boolean":
            return _one_of(self._writer.literal(self._style.words[word]) for word in (True, False))
        if kind == "null":
            return self._writer.literal(self._style.words[None])
        if kind == "array":
            return self._array(schema, depth)
        if kind == "object":
            return self._object(schema, depth)
        return json_part(self._writer, {**schema, "type": kind}, self._root)

    def _array(self, schema: Schema, depth: int) -> str:
        if "prefixItems" in schema or isinstance(schema.get("items"), list):
            raise self._refused("its schema has 'prefixItems'")
        low, high = schema.get("minItems", 0), schema.get("maxItems")
        if high == 0:
            return '"[]"'
        item = self._writer.rule(self.value(schema.get("items", {}), depth + 1))
        comma = self._writer.literal(self._style.comma)
        most = "" if high is None else max(high - 1, 0)
        filled = f'"[" {item} ({comma} {item}){{{max(low - 1, 0)},{most}}} "]"'
        return f"({filled})" if low else f'("[]" | {filled})'

    def _object(self, schema: Schema, depth: int) -> str:
        named, required = members_named(self._writer, self._tool, schema)
        members = {
            key: f"{self._writer.literal(self._style.key(key))} {self.value(value, depth + 1)}"
            for key, value in named.items()
        }
        return f'"{{" {members_of(self._writer, members, required, self._style.comma)} "}}"'

    def _refused(self, why: str) -> InvalidParameterError:
        return self._writer.refuse(self._tool, why)


def _one_of(expressions: Iterable[str]) -> str:
    return "(" + " | ".join(expressions) + ")"


def members_of(
    writer: GrammarWriter, members: Mapping[str, str], required: frozenset[str], separator: str
) -> str:
    """The expression of members in their order, those not required or not.

    Every suffix of the members is a rule, once with and once without a member before it.
    """
    comma = writer.literal(separator) if separator else ""
    first, later = "", ""
    for key, expression in reversed(list(members.items())):
        following = later
        with_comma = f"{comma} {expression} {following}"
        alone = f"{expression} {following}"
        if key in required:
            first, later = writer.rule(alone), writer.rule(with_comma)
        else:
            first = writer.rule(f"{alone} | {first or _EMPTY}")
            later = writer.rule(f"{with_comma} | {following or _EMPTY}")
    return first
