"""From a service's answer to an HTTP response."""

from __future__ import annotations

from quart import Response

from api.http.noted_fields import note_unknown
from api.http.sse import sse_response
from api.services.requests import Answer


def respond(answer: Answer) -> Response:
    """JSON or a stream; fields that nobody knows are noted for the `warning` header."""
    if answer.events is not None:
        response = sse_response(answer.events)
    else:
        response = json_response(answer.body)
    note_unknown(answer.unknown_fields)
    return response


def json_response(body: bytes) -> Response:
    """A 200 with encoded JSON."""
    return Response(body, content_type="application/json")
