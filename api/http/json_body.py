"""A request's JSON object, or a 4xx that says what is wrong with it. Never a 5xx, never a stall.

orjson refuses what JSON does not have (NaN, Infinity, invalid UTF-8, UTF-16, a byte order mark,
lone surrogates); nesting is bounded by what can be written again. It holds the GIL while parsing,
so a thread alone does not keep the event loop alive: big bodies are first *measured*, in slices,
and refused when their number of containers, members or elements could take tens of milliseconds.

A key that is given twice keeps its last value, as in every common JSON parser.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

import orjson
from quart import Request
from werkzeug.exceptions import RequestEntityTooLarge

from api.errors import APIError
from api.nesting import is_deeper

FIELDS_KEY = "servax.fields"
"""In the ASGI scope: fields that the URL decides, whatever the body says."""

SMALL_BODY_BYTES = 128 * 1024
MAX_KEYS = 100_000
MAX_CONTAINERS = 100_000
MAX_ELEMENTS = 2_100_000
MAX_NESTING = 200
SLICE_BYTES = 1024 * 1024


async def read_json_object(request: Request) -> dict[str, Any]:
    """The body of `request` as a JSON object.

    Raises:
        APIError: 413 larger than the limit (before all of it is read); 408 it did not arrive in
            time; 400 not application/json, not JSON, not an object, or too complex.
    """
    verify_content_type(request)
    body = await read_body(request)
    is_small = len(body) <= SMALL_BODY_BYTES
    given = (
        parse_json_object(body) if is_small else await asyncio.to_thread(parse_json_object, body)
    )
    return given | request.scope.get(FIELDS_KEY, {})


def verify_content_type(request: Request) -> None:
    """Raise APIError 400, as vLLM does, unless the request says it is `application/json`."""
    if request.mimetype != "application/json":
        raise APIError(
            "Unsupported Media Type: Only 'application/json' is allowed",
            code="unsupported_content_type",
        )


async def read_body(request: Request) -> bytes:
    """All bytes of the body, within the size and time limits of the application; then it is gone.

    Raises:
        APIError: 413, 408.
    """
    body = await peek_body(request)
    request.body.clear()
    return body


async def peek_body(request: Request) -> bytes:
    """As `read_body`, but it can be read again.

    Not `request.get_data()`: it waits with `asyncio.wait_for`, which before Python 3.12 loses a
    cancellation that comes together with the last byte, so that a client that sends and leaves
    at once would never be noticed to have left.
    """
    try:
        async with asyncio.timeout(request.body_timeout):
            body = await request.body
    except RequestEntityTooLarge:
        raise APIError(
            "The request body is larger than this server accepts.",
            status=413,
            code="request_too_large",
        ) from None
    except TimeoutError:
        raise APIError(
            "The request body did not arrive in time.", status=408, code="request_timeout"
        ) from None
    return body


def parse_json_object(body: bytes) -> dict[str, Any]:
    """`body` as a JSON object.

    Raises:
        APIError: 400 when it is not JSON, not an object, or too complex.
    """
    if len(body) > SMALL_BODY_BYTES:
        verify_complexity(body)
    try:
        value: Any = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise APIError(
            f"We could not parse the JSON body of your request: {describe(error)}.",
            code="invalid_json",
        ) from None
    if is_too_deep(body, value):
        raise APIError(
            f"The JSON body of your request is nested deeper than {MAX_NESTING} levels.",
            code="json_too_complex",
        )
    if not isinstance(value, dict):
        raise APIError("The body of the request must be a JSON object.", code="invalid_type")
    return cast(dict[str, Any], value)


def is_too_deep(text: bytes, value: Any) -> bool:
    """Whether `value`, which was read from `text`, is nested deeper than `MAX_NESTING`.

    What is kept is written again, and wrapped. Most texts have too few brackets to be deep.
    """
    has_many = text.count(b"[") + text.count(b"{") > MAX_NESTING
    return has_many and is_deeper(value, MAX_NESTING)


def describe(error: orjson.JSONDecodeError) -> str:
    """The parser's reason and place, without any of the body."""
    return f"{error.msg} (character {error.pos})"


def verify_complexity(body: bytes) -> None:
    """Raise APIError 400 when parsing `body` would build too many objects.

    Most bodies have too little punctuation even when that in strings counts. Otherwise strings
    are skipped, so text of any length and punctuation passes. Each call into C touches at most
    one string or gap, and Python gives way to other threads between them.
    """
    if not may_be_complex(body):
        return
    num_keys = num_containers = num_elements = 0
    position = 0
    while position < len(body):
        quote = body.find(b'"', position)
        gap_end = len(body) if quote < 0 else quote
        num_keys += body.count(b":", position, gap_end)
        num_elements += body.count(b",", position, gap_end)
        num_containers += body.count(b"[", position, gap_end)
        num_containers += body.count(b"{", position, gap_end)
        if num_keys > MAX_KEYS or num_containers > MAX_CONTAINERS or num_elements > MAX_ELEMENTS:
            raise APIError(
                "The JSON body of your request has too many members or elements.",
                code="json_too_complex",
            )
        if quote < 0:
            return
        position = end_of_string(body, quote + 1)


def may_be_complex(body: bytes) -> bool:
    """Whether all the punctuation of `body` together is over a limit; a few milliseconds."""
    num_keys = num_containers = num_elements = 0
    for start in range(0, len(body), SLICE_BYTES):
        end = start + SLICE_BYTES
        num_keys += body.count(b":", start, end)
        num_elements += body.count(b",", start, end)
        num_containers += body.count(b"[", start, end) + body.count(b"{", start, end)
        if num_keys > MAX_KEYS or num_containers > MAX_CONTAINERS or num_elements > MAX_ELEMENTS:
            return True
    return False


def end_of_string(body: bytes, start: int) -> int:
    """Index just after the quote that closes the string whose content starts at `start`."""
    quote = body.find(b'"', start)
    while quote >= 0:
        first_backslash = quote
        while first_backslash > start and body[first_backslash - 1] == ord("\\"):
            first_backslash -= 1
        if (quote - first_backslash) % 2 == 0:
            return quote + 1
        quote = body.find(b'"', quote + 1)
    return len(body)
