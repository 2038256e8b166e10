"""Lines of an offline batch: one request each in, one result each out, in vLLM's format.

    {"custom_id": "a", "method": "POST", "url": "/v1/completions", "body": {...}}
    {"id": "batch_req_...", "custom_id": "a",
     "response": {"status_code": 200, "request_id": "...", "body": {...}}, "error": null}

A line that cannot be honoured has its error in its result, and costs no other line anything. What
nobody knows in it, beside `body` as inside, is named in `response.warning`, or refused when fields
are read strictly.
"""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Collection
from typing import Any, cast

import orjson

from api.errors import APIError, error_body
from api.http.json_body import MAX_NESTING, is_too_deep
from api.settings import ErrorFormat

MAX_LINE_BYTES = 64 * 2**20
MAX_SHOWN_NAME = 100
MEMBERS = ("custom_id", "method", "url", "body")
BREAKS = {each.encode(): f"\\u{ord(each):04x}".encode() for each in "\x85\u2028\u2029"}
"""Ends of lines by Unicode's rules, by which some clients split, that JSON does not escape."""
_TYPES = (("custom_id", str, "a string"), ("url", str, "a string"), ("body", dict, "an object"))


@dataclasses.dataclass(frozen=True)
class BatchRequest:
    """One line, checked.

    Attributes:
        custom_id: as given, in whatever type.
        unknown: members beside those of `MEMBERS`.
    """

    custom_id: Any
    url: str
    body: dict[str, Any]
    unknown: tuple[str, ...] = ()


class LineError(Exception):
    """A line that is no request this batch can run; `error` says why."""

    def __init__(self, custom_id: Any, error: APIError) -> None:
        super().__init__(error.message)
        self.custom_id = custom_id
        self.error = error


def parse_line(line: bytes, urls: Collection[str], *, strict_fields: bool) -> BatchRequest:
    """A line as a request for one of `urls`.

    Raises:
        LineError: it is not JSON, misses something, or asks for what a batch does not do.
    """
    if len(line) > MAX_LINE_BYTES:
        raise LineError(None, APIError("The line is too long.", code="string_above_max_length"))
    try:
        given: Any = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise LineError(
            None, APIError(f"The line is not JSON: {error.msg}.", code="invalid_json")
        ) from None
    if is_too_deep(line, given):
        message = f"The line is nested deeper than {MAX_NESTING} levels."
        raise LineError(None, APIError(message, code="json_too_complex"))
    if not isinstance(given, dict):
        raise LineError(None, APIError("The line is not a JSON object.", code="invalid_type"))
    fields = cast("dict[str, Any]", given)
    custom_id = fields.get("custom_id")
    if fault := _find_fault(fields, urls):
        raise LineError(custom_id, fault)
    unknown = tuple(name for name in fields if name not in MEMBERS)
    if strict_fields and unknown:
        raise LineError(custom_id, _unknown(unknown[0][:MAX_SHOWN_NAME]))
    return BatchRequest(custom_id, fields["url"], fields["body"], unknown)


def _unknown(name: str) -> APIError:
    return APIError(f"Unknown parameter: '{name}'.", param=name, code="unknown_parameter")


def _find_fault(fields: dict[str, Any], urls: Collection[str]) -> APIError | None:
    return _find_wrong_type(fields) or _find_unsupported(fields, urls)


def _find_wrong_type(fields: dict[str, Any]) -> APIError | None:
    for name, kind, said in _TYPES:
        if fields.get(name) is None:
            return APIError(
                f"Missing required parameter: '{name}', {said}.",
                param=name,
                code="missing_required_parameter",
            )
        if not isinstance(fields[name], kind):
            return APIError(f"Invalid '{name}': {said} is needed.", param=name, code="invalid_type")
    return None


def _find_unsupported(fields: dict[str, Any], urls: Collection[str]) -> APIError | None:
    if fields.get("method", "POST") != "POST":
        return APIError("Invalid 'method': only POST.", param="method", code="invalid_value")
    if fields["url"] not in urls:
        known = ", ".join(sorted(urls))
        return APIError(
            f"Invalid 'url': {fields['url'][:200]!r} cannot be used in a batch; these can: "
            f"{known}.",
            param="url",
            code="unsupported_value",
        )
    if fields["body"].get("stream"):
        return APIError(
            "Unsupported parameter: 'stream' cannot be true in a batch.",
            param="stream",
            code="unsupported_parameter",
        )
    return None


def result_of(
    custom_id: Any, status: int, request_id: str, body: Any, warning: str | None = None
) -> bytes:
    """The line of an answer, be it success or refusal.

    Arguments:
        warning: the answer's header of that name, which tells of unknown fields.
    """
    is_success = status == 200
    response = {
        "status_code": status,
        "request_id": request_id,
        "body": body if is_success else None,
    } | warned(warning)
    return _line(custom_id, response, None if is_success else body)


def warned(warning: str | None) -> dict[str, str]:
    """What a line's `response` has beside its body; nothing without unknown fields."""
    return {} if warning is None else {"warning": warning}


def result_of_error(failure: LineError, style: ErrorFormat) -> bytes:
    """The line of what was no request."""
    response = {"status_code": failure.error.status, "request_id": _new_id(), "body": None}
    return _line(failure.custom_id, response, error_body(failure.error, style))


def _line(custom_id: Any, response: dict[str, Any], error: Any) -> bytes:
    result = {"id": _new_id(), "custom_id": custom_id, "response": response, "error": error}
    return as_line(result)


def as_line(result: dict[str, Any]) -> bytes:
    """A result as one line, by whatever rules a client splits lines."""
    line = orjson.dumps(result)
    for raw, escaped in BREAKS.items():  # they stand only in strings, whole
        line = line.replace(raw, escaped)
    return line + b"\n"


def _new_id() -> str:
    return f"batch_req_{uuid.uuid4().hex}"
