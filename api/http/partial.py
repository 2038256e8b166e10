"""Which part of something that never changes a GET asks for (RFC 9110, sections 13 and 14)."""

from __future__ import annotations

import dataclasses
import re

from werkzeug.datastructures import Headers
from werkzeug.http import parse_etags

from api.errors import APIError

_RANGE = re.compile(r"bytes=[ \t]*(?:([0-9]+)-([0-9]*)|-([0-9]+))[ \t]*", re.IGNORECASE)
_MAX_DIGITS = 18


@dataclasses.dataclass(frozen=True)
class Part:
    """What is answered.

    Attributes:
        status: 200, 206, or 304 for what the client has already.
        start, end: the bytes [start, end); none with 304.
    """

    status: int
    start: int
    end: int


def asked_part(method: str, headers: Headers, etag: str, num_bytes: int) -> Part:
    """The part of `num_bytes` bytes, whose strong tag is `etag` for good.

    Raises:
        APIError: 412, the client wants another version; 416, the range lies outside.
    """
    if_match, if_none_match = headers.get("if-match"), headers.get("if-none-match")
    name = etag.strip('"')
    if if_match is not None and not parse_etags(if_match).contains(name):
        raise APIError(
            "The file is not the one that 'If-Match' names.", status=412, code="precondition_failed"
        )
    if if_none_match is not None and parse_etags(if_none_match).contains_weak(name):
        return Part(304, 0, 0)
    wanted = headers.get("range") if method == "GET" else None
    if wanted is None or headers.get("if-range", etag).strip() != etag:
        return Part(200, 0, num_bytes)
    found = byte_range(wanted, num_bytes)
    return Part(200, 0, num_bytes) if found is None else Part(206, *found)


def byte_range(wanted: str, num_bytes: int) -> tuple[int, int] | None:
    """Half-open bytes of a `Range` header; None = all, also for what is no single range of bytes.

    Raises:
        APIError: 416.
    """
    match = _RANGE.fullmatch(wanted.strip())
    if match is None:
        return None
    first, last, suffix = match.groups()
    if suffix is not None:
        length = _number(suffix)
        if length and not num_bytes:  # all of nothing, for which there is no Content-Range
            return None
        start, end = max(0, num_bytes - length), num_bytes
    else:
        start, end = _number(first), min(num_bytes, _number(last) + 1) if last else num_bytes
        if last and _number(last) < start:
            return None
    if start >= end:
        raise APIError(
            "The requested range is not satisfiable.",
            status=416,
            code="range_not_satisfiable",
            headers={"content-range": f"bytes */{num_bytes}"},
        )
    return start, end


def _number(digits: str) -> int:
    """More digits than any file has bytes are as good as one more."""
    significant = digits.lstrip("0")
    return 10**_MAX_DIGITS if len(significant) > _MAX_DIGITS else int(significant or "0")
