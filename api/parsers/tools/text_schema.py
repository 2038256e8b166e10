"""Schemas of values that are not JSON, which no compiler reads: what is not enforced is refused."""

from __future__ import annotations

import itertools
import json
from typing import Any, cast

from api.parsers.flat_schema import Unmergeable, flat, merged
from api.parsers.loosening import FORMATS, UNENFORCEABLE
from api.parsers.schema import Schema, fixed_values, kind_of, kinds, properties
from api.parsers.tool_spec import ToolSpec
from api.parsers.tools.grammar import GrammarWriter
from engine.errors import InvalidParameterError

COMBINED = ("anyOf", "oneOf")
_OF_OBJECTS = ("patternProperties", "minProperties", "maxProperties")
_OF_NUMBERS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
_MAX_COMPARED = 64
_NUMBERS = {"integer", "number"}


def text_schema(writer: GrammarWriter, tool: ToolSpec, schema: Any) -> Schema:
    """A part of a tool's schema in one object, with nothing in it that is not enforced.

    Raises:
        InvalidParameterError: there is such a thing; names it.
    """
    if schema is False:
        raise writer.refuse(tool, "its schema has a value that nothing may be")
    try:
        found = flat(schema, tool.schema)
    except Unmergeable as error:
        raise _unenforced(writer, tool, f"allOf' beside '{error.word}") from None
    found_kinds = kinds(found, tool.schema)
    for word in found:
        if word in UNENFORCEABLE:
            raise _unenforced(writer, tool, word)
        if word in _OF_NUMBERS and "string" in found_kinds and found_kinds & _NUMBERS:
            raise _unenforced(writer, tool, word)  # a string of digits is read as a number
    if "string" in found_kinds:
        _verify_string(writer, tool, found)
    return found


def _verify_string(writer: GrammarWriter, tool: ToolSpec, schema: Schema) -> None:
    if schema.get("format", "unknown") not in FORMATS:
        raise _unenforced(writer, tool, "format")
    choices = fixed(schema)
    if choices == []:
        raise writer.refuse(tool, "nothing satisfies an 'enum' or 'const' in its schema")
    if choices is not None:
        for word in ("pattern", "format"):
            if word in schema:
                raise _unenforced(writer, tool, f"{word}' beside 'enum' or 'const")


def options_of(
    writer: GrammarWriter, tool: ToolSpec, schema: Schema
) -> list[dict[str, Any]] | None:
    """The alternatives, each with all that holds beside them; None where there are none.

    Raises:
        InvalidParameterError: none is possible, or more than one may be where just one must be.
    """
    word = next((word for word in COMBINED if word in schema), None)
    if word is None:
        return None
    beside = {key: value for key, value in schema.items() if key != word}
    found: list[dict[str, Any]] = []
    for option in cast("list[Any]", schema[word]):
        try:
            found.append(merged(beside, flat(option, tool.schema)))
        except Unmergeable as error:
            if error.word != "type":  # else it can never hold
                raise _unenforced(writer, tool, f"{word}' beside '{error.word}") from None
    if not found:
        raise writer.refuse(tool, f"nothing satisfies '{word}' in its schema")
    if word == "oneOf" and not _exclude_each_other(found, tool.schema):
        raise _unenforced(writer, tool, word)
    return found


def _exclude_each_other(options: list[dict[str, Any]], root: Schema) -> bool:
    if len(options) > _MAX_COMPARED:
        return False
    return all(_excludes(one, other, root) for one, other in itertools.combinations(options, 2))


def _excludes(one: Any, other: Any, root: Schema) -> bool:
    """Whether no value is both, by types, by listed values, or by a member that tells."""
    values, others = fixed_values(one, root), fixed_values(other, root)
    if values and others:
        return not {*map(json.dumps, values)} & {*map(json.dumps, others)}
    common = _kinds(one, root) & _kinds(other, root)
    if common != {"object"}:
        return not common
    members, other_members = properties(one), properties(other)
    telling = set(one.get("required", ())) & set(other.get("required", ()))
    return any(
        _tells(members[key], other_members[key], root)
        for key in telling & members.keys() & other_members.keys()
    )


def _tells(one: Any, other: Any, root: Schema) -> bool:
    both = fixed_values(one, root) and fixed_values(other, root)
    return bool(both) and _excludes(one, other, root)


def _kinds(schema: Any, root: Schema) -> set[str]:
    return {"number" if kind == "integer" else kind for kind in kinds(schema, root)}


def fixed(schema: Schema) -> list[Any] | None:
    """The values that a schema lists, as far as they are of its type; None if it lists none."""
    listed = schema.get("enum")
    if "const" in schema:
        known = json.dumps(schema["const"])
        listed = [value for value in listed or [schema["const"]] if json.dumps(value) == known]
    if listed is None:
        return None
    allowed = kinds({key: schema[key] for key in ("type",) if key in schema}, {})
    return [value for value in listed if _is_allowed(schema, value, allowed)]


def _is_allowed(schema: Schema, value: Any, allowed: frozenset[str]) -> bool:
    kind = kind_of(value)
    if kind not in allowed and not (kind == "integer" and "number" in allowed):
        return False
    if not isinstance(value, str):
        return True
    low, high = schema.get("minLength", 0), schema.get("maxLength")
    return low <= len(value) and (high is None or len(value) <= high)


def members_named(
    writer: GrammarWriter, tool: ToolSpec, schema: Schema
) -> tuple[dict[str, Any], frozenset[str]]:
    """The members of an object that a schema names, and which of them are required.

    Raises:
        InvalidParameterError: the schema asks for more, or for a member that it forbids.
    """
    for word in _OF_OBJECTS:
        if word in schema:
            raise _unenforced(writer, tool, word)
    required = frozenset(map(str, schema.get("required") or ()))
    others = schema.get("additionalProperties", {})
    named = properties(schema)
    named |= dict.fromkeys(sorted(required - named.keys()), others)
    possible = {key: value for key, value in named.items() if value is not False}
    if required - possible.keys():
        raise writer.refuse(tool, "its schema requires what it forbids")
    return possible, required


def _unenforced(writer: GrammarWriter, tool: ToolSpec, word: str) -> InvalidParameterError:
    return writer.refuse(tool, f"its schema has '{word}'")
