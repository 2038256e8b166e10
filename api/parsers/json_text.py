"""JSON inside a model's text: where a value ends, and calls written as objects.

The text of a value is passed on as it is; a model that writes broken JSON gives broken arguments.
"""

from __future__ import annotations

import dataclasses
import json
import re

from api.parsers.answer import Answer
from api.parsers.reader import Mismatch, Reader, Take, Waiting

_SCALAR = re.compile(r"[0-9A-Za-z+\-.]*")
_BETWEEN = re.compile(r"[\s,:0-9A-Za-z+\-.]*")
_IN_STRING = re.compile(r'[^"\\]*')
_CLOSING = {"{": "}", "[": "]"}
MAX_NAME = 256


def json_value(reader: Reader, take: Take | None = None) -> Waiting[None]:
    """Read one value of any type.

    Raises:
        Mismatch: a character that no JSON has there; what comes before it was taken.
    """
    first = yield from reader.peek()
    if first == '"':
        yield from json_string(reader, take)
    elif first in _CLOSING:
        yield from _nested(reader, take)
    elif not (yield from reader.run(_SCALAR, take)):
        raise Mismatch


def _nested(reader: Reader, take: Take | None) -> Waiting[None]:
    open_brackets: list[str] = []
    while True:
        yield from reader.run(_BETWEEN, take)
        character = yield from reader.peek()
        if character == '"':
            yield from json_string(reader, take)
            continue
        if character in _CLOSING:
            open_brackets.append(_CLOSING[character])
        elif not character or character != open_brackets.pop():
            raise Mismatch
        yield from reader.skip(take)
        if not open_brackets:
            return


def json_string(reader: Reader, take: Take | None = None) -> Waiting[None]:
    """Read a string with its quotes.

    Raises:
        Mismatch: it does not begin here or does not end.
    """
    if (yield from reader.peek()) != '"':
        raise Mismatch
    yield from reader.skip(take)
    while True:
        yield from reader.run(_IN_STRING, take)
        if (yield from reader.skip(take)) == '"':
            return
        yield from reader.skip(take)


def json_name(reader: Reader) -> Waiting[str]:
    """Read a short string: a key or a name. It stays aside.

    Raises:
        Mismatch: no string, or one that is no name.
    """
    pieces: list[str] = []

    def take(piece: str) -> None:
        pieces.append(piece)

    try:
        yield from json_string(reader, take)
    finally:
        reader.put_aside("".join(pieces))
    try:
        name = json.loads("".join(pieces))
    except ValueError:
        raise Mismatch from None
    if not 0 < len(name) <= MAX_NAME:
        raise Mismatch
    return name


@dataclasses.dataclass(frozen=True, kw_only=True)
class CallKeys:
    """How a format's JSON object of a call names its members."""

    name: tuple[str, ...] = ("name",)
    arguments: tuple[str, ...] = ("arguments", "parameters")
    ignored: tuple[str, ...] = ("type",)
    id: tuple[str, ...] = ("id",)


DEFAULT_KEYS = CallKeys()


def json_call(
    reader: Reader,
    answer: Answer,
    keys: CallKeys = DEFAULT_KEYS,
    *,
    known: frozenset[str] | None = None,
    needs_arguments: bool = False,
) -> Waiting[None]:
    """Read `{"name": …, "arguments": …}`, members in any order.

    The call begins when its name is known and its arguments or its end are reached.

    Arguments:
        known: only these names make a call; None: any.
        needs_arguments: an object without arguments is no call.

    Raises:
        Mismatch: it is no such object, or goes on strangely after the arguments.
    """
    name: str | None = None
    call_id: str | None = None
    early: list[str] = []
    is_begun = False

    def begin() -> None:
        if name is None or (known is not None and name not in known):
            raise Mismatch
        answer.start_call(name, call_id)
        reader.commit()

    yield from reader.expect("{")
    while True:
        yield from reader.spaces()
        key = yield from json_name(reader)
        yield from reader.spaces()
        yield from reader.expect(":")
        yield from reader.spaces()
        if key in keys.name and name is None:
            name = yield from json_name(reader)
        elif key in keys.id and not is_begun:
            call_id = yield from json_name(reader)
        elif key in keys.ignored:
            yield from reader.expect('"function"')
        elif key in keys.arguments and not is_begun and not early:
            if name is None:
                yield from _read_aside(reader, early)
            else:
                begin()
                is_begun = True
                yield from json_value(reader, answer.arguments)
        else:
            raise Mismatch
        yield from reader.spaces()
        if (yield from reader.expect(",", "}")) == "}":
            break
    if not is_begun:
        if needs_arguments and not early:
            raise Mismatch
        begin()
        answer.arguments("".join(early) or "{}")


def _read_aside(reader: Reader, pieces: list[str]) -> Waiting[None]:
    """Read a value that is needed later and may yet turn out to be content."""
    first = len(pieces)
    try:
        yield from json_value(reader, pieces.append)
    finally:
        reader.put_aside("".join(pieces[first:]))
