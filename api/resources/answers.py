"""From a service's answer to an HTTP response."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence

from quart import Response

from api.services.requests import Answer
from api.sse import sse_response

_MAX_NAMES = 20
_UNSAFE = re.compile(r"[^A-Za-z0-9_.\-]")

log = logging.getLogger("servax.api")


def respond(answer: Answer) -> Response:
    """JSON or a stream, with a `warning` header naming fields that nobody knows."""
    if answer.events is not None:
        response = sse_response(answer.events)
    else:
        response = json_response(answer.body)
    if answer.unknown_fields:
        names = shown_names(answer.unknown_fields)
        log.warning("a request has unknown fields, which have no effect: %s", names)
        response.headers["warning"] = f'299 servax "Unknown fields have no effect: {names}"'
    return response


def json_response(body: bytes) -> Response:
    """A 200 with encoded JSON."""
    return Response(body, content_type="application/json")


def shown_names(names: Sequence[str]) -> str:
    """Client-chosen names, fit for a header and a log line."""
    shown = [_UNSAFE.sub("?", name[:64]) for name in names[:_MAX_NAMES]]
    more = ["..."] if len(names) > _MAX_NAMES else []
    return ", ".join(shown + more)
