"""Arguments that a format writes as text: they become JSON by the tool's schema."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

from api.parsers.answer import Answer
from api.parsers.literals import json_inside, number_text, python_as_json
from api.parsers.schema import ALL_KINDS, fixed_values, kinds, properties
from api.parsers.tool_spec import ToolSpec, by_name

_BOOLEANS = {"true": "true", "false": "false"}
_NULLS = {"null", "none"}
_STRING = frozenset({"string"})


class ArgumentKinds:
    """Which types the arguments of each declared tool may have."""

    def __init__(self, tools: Sequence[ToolSpec]) -> None:
        self._expected = {name: _of(tool.schema) for name, tool in by_name(tools).items()}

    def of(self, tool_name: str) -> Mapping[str, Expected]:
        """By argument; an argument or tool nobody declared has none."""
        return self._expected.get(tool_name, {})


@dataclasses.dataclass(frozen=True, slots=True)
class Expected:
    """What a value may be.

    Attributes:
        kinds: JSON types.
        fixed: JSON of values that the schema lists, by the text that stands for each.
    """

    kinds: frozenset[str] = ALL_KINDS
    fixed: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])


def _of(schema: Mapping[str, Any]) -> dict[str, Expected]:
    return {
        key: Expected(kinds(value, schema), _fixed(value, schema))
        for key, value in properties(schema).items()
    }


def _fixed(schema: Any, root: Mapping[str, Any]) -> dict[str, str]:
    """ "1" and 1 are both written as 1: which of them is meant only the list tells."""
    found: dict[str, str] = {}
    for value in fixed_values(schema, root):
        found.setdefault(raw_text(value), json.dumps(value, ensure_ascii=False))
    return found


def raw_text(value: Any) -> str:
    """How formats of this kind write a value: strings as they are, the rest as JSON."""
    return value if isinstance(value, str) else json.dumps(value)


class ArgumentWriter:
    """Writes one call's arguments as a JSON object; strings as they come.

    Arguments:
        argument_kinds: types and listed values by argument.
        trims: a newline right after a value's opening and one right before its end are layout.
    """

    def __init__(
        self, answer: Answer, argument_kinds: Mapping[str, Expected], *, trims: bool
    ) -> None:
        self._answer = answer
        self._expected = argument_kinds
        self._trims = trims
        self._separator = ""
        self._begin(Expected())
        answer.arguments("{")

    def key(self, name: str, expected: frozenset[str] | None = None) -> None:
        """A value begins. Arguments: expected: its types, if not the schema but the text says."""
        self._begin(Expected(expected) if expected else self._expected.get(name, Expected()))
        name_text = json.dumps(name, ensure_ascii=False)
        self._answer.arguments(f"{self._separator}{name_text}: " + '"' * self._is_string)
        self._separator = ", "

    def _begin(self, expected: Expected) -> None:
        self._value = expected
        self._is_string = expected.kinds == _STRING
        self._pieces: list[str] = []
        self._is_first = True
        self._held = ""

    def text(self, piece: str) -> None:
        """More of the value."""
        if not piece:
            return
        if self._trims:
            piece = self._trimmed(piece)
        if self._is_string:
            self._answer.arguments(json_inside(piece))
        else:
            self._pieces.append(piece)

    def _trimmed(self, piece: str) -> str:
        if self._is_first:
            piece = piece.removeprefix("\n")
            self._is_first = False
        piece, self._held = self._held + piece, ""
        if piece.endswith("\n"):
            self._held = "\n"
        return piece.removesuffix("\n")

    def end_value(self) -> None:
        """The value is complete."""
        if self._is_string:
            self._answer.arguments('"')
        else:
            text = "".join(self._pieces)
            fixed = self._value.fixed.get(text)
            self._answer.arguments(fixed or json_of(text, self._value.kinds))

    def abandon(self) -> None:
        """The text ended within the value: nothing of it is kept back."""
        self._answer.arguments("".join(self._pieces))

    def end(self) -> None:
        """The call is complete."""
        self._answer.arguments("}")


def json_of(text: str, value_kinds: frozenset[str]) -> str:
    """The JSON text of a value written as `text`: the first of its types that fits, else a string.

    A value that may be anything is read as JSON, and as a string if it is none.
    """
    word = text.strip()
    if "null" in value_kinds and word.lower() in _NULLS:
        return "null"
    if "boolean" in value_kinds and word.lower() in _BOOLEANS:
        return word.lower()
    if value_kinds & {"integer", "number"} and (number := number_text(word)) is not None:
        return number
    for kind, opening in (("object", "{"), ("array", "[")):
        if kind in value_kinds and word.startswith(opening):
            nested = word if is_json(word) else python_as_json(word)
            if nested is not None:
                return nested
    if value_kinds == ALL_KINDS and word.startswith('"') and is_json(word):
        return word
    return json.dumps(text, ensure_ascii=False)


def is_json(text: str) -> bool:
    """Whether `text` is one JSON value, without NaN and Infinity."""
    try:
        json.loads(text, parse_constant=_refuse, parse_int=str, parse_float=str)
    except (ValueError, RecursionError):
        return False
    return True


def _refuse(word: str) -> None:
    raise ValueError(word)
