"""The WebSocket `/v1/responses`: one response after the other on one connection.

The newest response is remembered with the connection if it is kept nowhere else (`store: false`),
so that it can be gone on with; a continuation that fails forgets it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncGenerator
from typing import Any

import orjson

from api.errors import APIError
from api.http.json_body import parse_json_object
from api.protocol.responses.items import ItemReference, stored_form
from api.services.generation.events import told
from api.services.responses.conversation.history import History
from api.services.responses.events.dialects import TERMINAL
from api.services.responses.exchange import Exchange, Remembered
from api.services.responses.service import create_response
from engine.errors import InvalidParameterError

Frame = dict[str, Any]

CREATE = "response.create"
NOT_HERE = ("stream", "stream_options", "background")
LIMIT_S = 3600.0
"""Longest life of a connection."""

TOO_OLD = APIError(
    "This connection has lived for its 60 minutes; open a new one.",
    code="websocket_connection_limit_reached",
)


class SocketSession:
    """One connection."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._newest: Remembered | None = None
        self._history: History | None = None

    async def answer(self, message: str | bytes) -> AsyncGenerator[bytes, None]:
        """What is sent for one message: events of a response, or one error."""
        body: Frame = {}
        try:
            body = _read(message)
            async for frame in self._events(body):
                yield frame
        except Exception as error:
            if self._newest is not None and body.get("previous_response_id") == self._newest.id:
                self._newest = None
            yield error_frame(told(error), body.get("stream_id"))

    async def _events(self, body: Frame) -> AsyncGenerator[bytes, None]:
        stream_id = body.pop("stream_id", None)
        exchange = dataclasses.replace(
            self._exchange, remembered=self._newest, remember=self._take_history
        )
        answer = await create_response(exchange, body | {"stream": True})
        assert answer.events is not None
        try:
            async for sent in answer.events:
                for event in _events_in(sent):
                    self._remember(event)
                    named = {} if stream_id is None else {"stream_id": stream_id}
                    yield orjson.dumps(event | named)
        finally:
            close: Any = getattr(answer.events, "aclose")  # noqa: B009
            await close()

    def _take_history(self, history: History) -> None:
        self._history = history

    def _remember(self, event: Frame) -> None:
        if event["type"] not in TERMINAL or self._history is None:
            return
        response = event["response"]
        items = [
            stored_form(placed.item)
            for placed in self._history.items
            if not isinstance(placed.item, ItemReference)
        ]
        is_only_here = not response["store"] and response["status"] != "failed"
        found = Remembered(response["id"], [*items, *response["output"]])
        self._newest = found if is_only_here else None


def error_frame(error: APIError, stream_id: Any = None) -> bytes:
    """An error as this protocol writes it."""
    status = 400 if error.code == "previous_response_not_found" else error.status
    fields = {"code": error.code or error.type, "message": error.message, "param": error.param}
    frame: Frame = {"type": "error", "status": status, "error": fields}
    return orjson.dumps(frame if stream_id is None else frame | {"stream_id": stream_id})


def _read(message: str | bytes) -> Frame:
    """The body of a `response.create`."""
    body = parse_json_object(message.encode() if isinstance(message, str) else message)
    kind = body.pop("type", None)
    if kind != CREATE:
        raise InvalidParameterError(f"Invalid 'type': expected {CREATE}.", param="type")
    for name in NOT_HERE:
        if name in body:
            raise InvalidParameterError(
                f"Invalid '{name}': not allowed on this connection.", param=name
            )
    if body.pop("generate", True) is not True:
        raise InvalidParameterError(
            "Unsupported parameter: 'generate' can only be true.",
            param="generate",
            code="unsupported_parameter",
        )
    return body


def _events_in(sent: bytes) -> list[Frame]:
    """The events of what a stream writes at once."""
    lines = [line for line in sent.split(b"\n") if line.startswith(b"data: {")]
    return [orjson.loads(line.removeprefix(b"data: ")) for line in lines]
