"""What happens around every HTTP exchange, outside of Quart: identity, headers, counting, log.

`AccessMiddleware` stands between Hypercorn and Quart, so that it also sees what Quart answers
by itself. It gives each request an id, puts the headers on whatever answer leaves, counts what
is in flight from the first byte to the last, and closes what a route left open.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import re
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Protocol, cast

import orjson

from api.errors import error_body, server_error
from api.keys.quotas import Quota
from api.settings import ServerSettings

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

OPENAI_VERSION = "2020-10-01"
MAX_DIGITS = 19
SCOPE_KEY = "servax.request"
SANE_REQUEST_ID = re.compile(r"[A-Za-z0-9._:\-]{1,128}")

log = logging.getLogger("servax.access")


@dataclasses.dataclass
class RequestState:
    """One HTTP exchange.

    Attributes:
        request_id: from the client's X-Request-Id when that is sane, else made here.
        started_s: `time.perf_counter()` at the first byte.
        handler: the matched route's pattern, `none` when no route matched; set by `api.app`.
        request_bytes: the body's length as the client gave it; 0 when it gave none.
        status: of the answer; 499 when the client went away before there was one.
        body_gate: set while the route wants more of the body; None = always. Given by
            `api.http.request_body` for uploads.
        quota: of the caller's key; None until it is known.
        closers: awaited when the exchange is over, however it ended.
    """

    request_id: str
    method: str
    started_s: float
    handler: str = "none"
    status: int = 499
    request_bytes: int = 0
    response_bytes: int = 0
    body_gate: asyncio.Event | None = None
    quota: Quota | None = None
    closers: list[Callable[[], Awaitable[None]]] = dataclasses.field(
        default_factory=list[Callable[[], Awaitable[None]]]
    )

    @property
    def elapsed_s(self) -> float:
        """Seconds since the first byte."""
        return time.perf_counter() - self.started_s


class Observer(Protocol):
    """Who counts exchanges: `api.metrics.registry.Metrics` and `api.limits.Admission`."""

    def request_started(self, state: RequestState) -> None:
        """An exchange began."""
        ...

    def request_ended(self, state: RequestState) -> None:
        """The last byte of the answer is out, or the client went away."""
        ...


def request_state(scope: Mapping[str, Any]) -> RequestState:
    """The record of the exchange with this ASGI scope (`quart.request.scope`)."""
    return cast(RequestState, scope[SCOPE_KEY])


def choose_request_id(given: str | None) -> str:
    """`given` if it is safe to log and send back, else a new id."""
    if given is not None and SANE_REQUEST_ID.fullmatch(given):
        return given
    return f"req_{uuid.uuid4().hex}"


class AccessMiddleware:
    """ASGI application around `inner`; see the module docstring."""

    def __init__(
        self, inner: ASGIApp, settings: ServerSettings, observers: tuple[Observer, ...]
    ) -> None:
        self._inner = inner
        self._settings = settings
        self._observers = observers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return
        state = _new_state(scope)
        scope[SCOPE_KEY] = state
        for observer in self._observers:
            observer.request_started(state)
        try:
            await self._exchange(scope, receive, send, state)
        finally:
            for observer in self._observers:
                observer.request_ended(state)
            self._log(scope, state)

    async def _exchange(
        self, scope: Scope, receive: Receive, send: Send, state: RequestState
    ) -> None:
        is_started = False

        async def receive_when_wanted() -> Message:
            if state.body_gate is not None:
                await state.body_gate.wait()
            return await receive()

        async def send_with_headers(message: Message) -> None:
            nonlocal is_started
            if message["type"] == "http.response.start":
                is_started = True
                state.status = int(message["status"])
                message["headers"] = [*message.get("headers", ()), *_headers(state)]
            elif message["type"] == "http.response.body":
                state.response_bytes += len(message.get("body", b""))
            await send(message)

        try:
            await self._inner(scope, receive_when_wanted, send_with_headers)
        except Exception:
            log.exception("request %s failed outside of its route", state.request_id)
            if is_started:
                raise  # the server closes the connection without a proper end of the body
            await send_json(send_with_headers, 500, self._server_error_body())
        finally:
            for close in state.closers:
                await close()

    def _server_error_body(self) -> bytes:
        return orjson.dumps(error_body(server_error(), self._settings.error_format))

    def _log(self, scope: Scope, state: RequestState) -> None:
        if self._settings.enable_log_requests:
            log.info(
                "%s %s %d %.1f ms %s",
                state.method,
                state.handler if state.handler != "none" else repr(scope["path"])[:200],
                state.status,
                state.elapsed_s * 1000,
                state.request_id,
            )


def _new_state(scope: Scope) -> RequestState:
    headers = {name.lower(): value for name, value in scope["headers"]}
    given = headers.get(b"x-request-id")
    length = headers.get(b"content-length", b"")
    return RequestState(
        choose_request_id(None if given is None else given.decode("latin-1")),
        scope["method"],
        time.perf_counter(),
        request_bytes=int(length) if length.isdigit() and len(length) < MAX_DIGITS else 0,
    )


def _headers(state: RequestState) -> list[tuple[bytes, bytes]]:
    return [
        (b"x-request-id", state.request_id.encode("ascii")),
        (b"openai-processing-ms", str(round(state.elapsed_s * 1000)).encode("ascii")),
        (b"openai-version", OPENAI_VERSION.encode("ascii")),
        (b"x-content-type-options", b"nosniff"),
        *(state.quota.headers() if state.quota is not None else ()),
    ]


async def send_json(
    send: Send, status: int, body: bytes, more: Mapping[str, str] | None = None
) -> None:
    """Answer with JSON, from outside of Quart."""
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode("ascii")),
        *((name.encode("ascii"), value.encode("ascii")) for name, value in (more or {}).items()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
