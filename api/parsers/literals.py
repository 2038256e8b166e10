"""Literals that are not JSON, read while they arrive and passed on as JSON text.

Nothing is evaluated: a value is strings, numbers, three words and brackets, or it is refused.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Callable, Mapping

from api.parsers.reader import Markers, Mismatch, Reader, Take, Waiting

_WORD = re.compile(r"[\w.+\-]*")
_INTEGER = re.compile(r"[+-]?\d+", re.ASCII)
_JSON_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?", re.ASCII)
_CLOSING = {"{": "}", "[": "]", "(": "]"}
_ENDS = {"{": "}", "[": "]", "(": ")"}
WORDS = {"true": "true", "false": "false", "none": "null", "null": "null"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dialect:
    """How strings and keys are written.

    Attributes:
        quotes: what a string may begin with.
        string: reads the string after its quote and its end; what it says is taken.
        bare_key: the characters of an unquoted key; None: keys are quoted.
    """

    quotes: tuple[str, ...]
    string: Callable[[Reader, str, Take], Waiting[None]]
    bare_key: re.Pattern[str] | None = None


def literal_value(reader: Reader, take: Take, dialect: Dialect) -> Waiting[None]:
    """Read one value.

    Raises:
        Mismatch: no such literal; what was certain was taken.
    """
    ends: list[tuple[str, str]] = []
    is_value_due = True
    while is_value_due:
        yield from reader.spaces()
        opening = yield from reader.one_of(*_CLOSING)
        if opening:
            ends.append((_ENDS[opening], _CLOSING[opening]))
            _told(reader, take, "{" if opening == "{" else "[")
        else:
            yield from _scalar(reader, take, dialect)
        is_value_due = yield from _after(reader, take, dialect, ends, is_first=bool(opening))


def _after(
    reader: Reader, take: Take, dialect: Dialect, ends: list[tuple[str, str]], *, is_first: bool
) -> Waiting[bool]:
    """Close brackets up to the next value, with its key; whether there is one."""
    while ends:
        yield from reader.spaces()
        end, json_end = ends[-1]
        is_comma = bool((yield from reader.one_of(",")))
        yield from reader.spaces()
        if (yield from reader.one_of(end)):
            ends.pop()
            _told(reader, take, json_end)
            is_first = False
            continue
        if is_comma == is_first:
            raise Mismatch
        _told(reader, take, "" if is_first else ", ")
        if json_end == "}":
            yield from _key(reader, take, dialect)
        return True
    return False


def _key(reader: Reader, take: Take, dialect: Dialect) -> Waiting[None]:
    quote = yield from reader.one_of(*dialect.quotes)
    if quote:
        yield from _string(reader, take, dialect, quote)
    else:
        if dialect.bare_key is None:
            raise Mismatch
        key = (yield from reader.run(dialect.bare_key)).strip()
        if not key:
            raise Mismatch
        _told(reader, take, json.dumps(key, ensure_ascii=False))
    yield from reader.spaces()
    yield from reader.expect(":")
    _told(reader, take, ": ")


def _scalar(reader: Reader, take: Take, dialect: Dialect) -> Waiting[None]:
    quote = yield from reader.one_of(*dialect.quotes)
    if quote:
        yield from _string(reader, take, dialect, quote)
        return
    word = yield from reader.run(_WORD)
    text = WORDS.get(word.lower()) or number_text(word)
    if text is None:
        raise Mismatch
    _told(reader, take, text)


def _string(reader: Reader, take: Take, dialect: Dialect, quote: str) -> Waiting[None]:
    _told(reader, take, '"')
    yield from dialect.string(reader, quote, lambda text: take(json_inside(text)))
    _told(reader, take, '"')


def _told(reader: Reader, take: Take, text: str) -> None:
    reader.commit()
    take(text)


def json_inside(text: str) -> str:
    """`text` as it stands between the quotes of a JSON string."""
    return json.dumps(text, ensure_ascii=False)[1:-1]


def number_text(word: str) -> str | None:
    """A number as JSON writes it; None if `word` is none."""
    if _JSON_NUMBER.fullmatch(word):
        return word
    if _INTEGER.fullmatch(word):
        sign = "-" if word[0] == "-" else ""
        return sign + (word.lstrip("+-").lstrip("0") or "0")
    try:
        value = float(word) if word[:1].isdigit() or word[:1] in "+-." else math.nan
    except ValueError:
        return None
    return json.dumps(value) if math.isfinite(value) else None


_PLAIN: Mapping[str, re.Pattern[str]] = {
    "'": re.compile(r"[^'\\]*"),
    '"': re.compile(r'[^"\\]*'),
}
_ESCAPES = {
    "n": "\n",
    "t": "\t",
    "r": "\r",
    "b": "\b",
    "f": "\f",
    "v": "\v",
    "a": "\a",
    "0": "\0",
    "\n": "",
    "/": "/",
    "\\": "\\",
    "'": "'",
    '"': '"',
}
_NUM_DIGITS = {"x": 2, "u": 4, "U": 8}
_HEX = frozenset("0123456789abcdefABCDEF")


def escaped_string(reader: Reader, quote: str, take: Take) -> Waiting[None]:
    """Read the rest of a string with backslash escapes, as in Python or JSON.

    Raises:
        Mismatch: it does not end.
    """
    while True:
        yield from reader.run(_PLAIN[quote], take)
        if (yield from reader.skip()) == quote:
            reader.commit()
            return
        text = yield from _escape(reader)
        reader.commit()
        take(text)


def _escape(reader: Reader) -> Waiting[str]:
    character = yield from reader.skip()
    if character not in _NUM_DIGITS:
        return _ESCAPES.get(character, "\\" + character)
    code = yield from _hex(reader, _NUM_DIGITS[character])
    if 0xD800 <= code < 0xDC00 and (yield from reader.one_of("\\u")):
        low = yield from _hex(reader, 4)
        if not 0xDC00 <= low < 0xE000:
            return "\N{REPLACEMENT CHARACTER}" + _character(low)
        code = 0x10000 + ((code - 0xD800) << 10) + low - 0xDC00
    return _character(code)


def _hex(reader: Reader, num_digits: int) -> Waiting[int]:
    digits = ""
    for _ in range(num_digits):
        digits += yield from reader.skip()
    if not _HEX.issuperset(digits):
        raise Mismatch
    return int(digits, 16)


def _character(code: int) -> str:
    if code > 0x10FFFF or 0xD800 <= code < 0xE000:
        return "\N{REPLACEMENT CHARACTER}"
    return chr(code)


def delimited_string(reader: Reader, quote: str, take: Take) -> Waiting[None]:
    """Read the rest of a raw string that ends as it began.

    Raises:
        Mismatch: it does not end.
    """
    if not (yield from reader.until(Markers([quote]), take)):
        raise Mismatch
    reader.commit()


PYTHON = Dialect(quotes=("'", '"'), string=escaped_string)


def python_as_json(text: str) -> str | None:
    """The JSON text of a Python literal; None if `text` is none."""
    reader = Reader()
    reader.feed(text)
    reader.close()
    pieces: list[str] = []
    try:
        for _ in literal_value(reader, pieces.append, PYTHON):
            return None
    except Mismatch:
        return None
    rest = [*reader.spaces()]
    return "".join(pieces) if not rest and reader.is_at_end else None
