"""HTTP/1 as Hypercorn speaks it, made strict: one request, one answer, in our envelope.

Hypercorn 0.18 picks its HTTP/1 protocol class by a name in `hypercorn.protocol`; `install`
puts this subclass there. What it changes, and why:

- `Content-Length` together with `Transfer-Encoding` is 400 and the end of the connection. h11
  believes the latter and would answer what follows as a second request (request smuggling).
- Bytes after a complete request (pipelining) are not answered, and reading never stops while
  an answer is being made: Hypercorn would stop, and not notice that the client went away. The
  connection closes after the answer; HTTP allows that, and no client in use pipelines.
- Targets must be `/path` or an absolute http(s) URL, of which the path is taken; `*`, `?x` and
  malformed URLs, which raise in Quart, are 400. Hosts must look like hosts.
- Errors found here have a JSON body and never a 5xx status.
- An answer given before the whole body came (401, 413, 503) reaches the client: what it still
  sends is read and thrown away for some seconds, so that the kernel does not reset the
  connection, and the connection lives on if the body ends in that time.
- No upgrade to cleartext HTTP/2.
- A client that closes its side is closed to at once. Hypercorn would keep the socket until the
  keep-alive timeout, because its idle timer outlives its reader.
- A broken chunk of a body is 400 while there is no answer yet.
- The head that answers HEAD goes out with the end of that answer. It is all a client waits for, so
  one that gets it earlier may send its next request while Hypercorn is not done with this one.
- The limit of the size of headers and of the target holds to the byte; h11 looks at it only
  when a read leaves a request incomplete, so alone it lets one more read pass.
"""

from __future__ import annotations

import asyncio
import dataclasses
import re
import ssl
import uuid
from itertools import chain
from typing import Any

import h11
import hypercorn.protocol
import orjson
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.events import Body, EndBody
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.events import Response as StreamResponse
from hypercorn.protocol.h11 import STREAM_ID, H11Protocol

from api.errors import APIError, error_body
from api.http.access import OPENAI_VERSION
from api.settings import ErrorFormat, ServerSettings

LINGER_S = 2.0
HOST = re.compile(rb"[A-Za-z0-9._\-]*(:[0-9]{0,5})?|\[[0-9A-Fa-f:.%]+\](:[0-9]{0,5})?")
ABSOLUTE = re.compile(rb"https?://[^/?#]*([^#]*)", re.IGNORECASE)


class StrictConfig(Config):
    """Hypercorn's configuration and what `StrictH11Protocol` needs besides."""

    max_num_headers: int = 256
    error_format: ErrorFormat = "openai"


def install() -> None:
    """Make Hypercorn use `StrictH11Protocol` in this process."""
    hypercorn.protocol.H11Protocol = StrictH11Protocol  # pyright: ignore[reportPrivateImportUsage]


def make_config(settings: ServerSettings) -> StrictConfig:
    """Hypercorn's configuration for these settings; binds are left to the caller."""
    config = StrictConfig()
    config.max_num_headers = settings.max_num_headers
    config.error_format = settings.error_format
    config.h11_max_incomplete_size = settings.max_header_bytes
    config.keep_alive_timeout = settings.keep_alive_timeout_s
    config.keep_alive_max_requests = 1_000_000_000
    config.backlog = 2048
    config.graceful_timeout = 2.0
    config.include_server_header = False
    config.errorlog = "-"
    config.loglevel = "WARNING"
    if settings.ssl_certfile:
        config.certfile = settings.ssl_certfile
        config.keyfile = settings.ssl_keyfile or settings.ssl_certfile
        config.ca_certs = settings.ssl_ca_certs or None
        config.verify_mode = ssl.VerifyMode(settings.ssl_cert_reqs)
        if settings.ssl_ciphers:
            config.ciphers = settings.ssl_ciphers
    return config


class StrictH11Protocol(H11Protocol):
    """See the module docstring."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._is_discarding = False
        self._is_gone = asyncio.Event()
        self._late_body_ended = asyncio.Event()
        self._is_head_only = False
        self._held_head: StreamResponse | None = None

    async def handle(self, event: Event) -> None:
        """Take bytes from the socket, or its end."""
        if isinstance(event, Closed):
            await self._on_closed(event)
        elif isinstance(event, RawData) and event.data == b"":
            pass  # the end of the socket; Closed follows
        elif not self._is_discarding:
            await super().handle(event)

    async def _on_closed(self, event: Closed) -> None:
        """The client closed its side, or nobody used the connection for long: let go of it."""
        is_first = not self._is_gone.is_set()
        self._is_gone.set()
        self._late_body_ended.set()
        await super().handle(event)
        if is_first:
            await self.send(Closed())

    async def stream_send(self, event: StreamEvent) -> None:
        """Send a part of the answer; says `connection: close` when it will be the last."""
        if isinstance(event, StreamResponse) and self._is_head_only:
            self._held_head = event
            return
        if isinstance(event, EndBody) and self._held_head is not None:
            held, self._held_head = self._held_head, None
            await super().stream_send(self._with_close(held))
        await super().stream_send(self._with_close(event))

    def _with_close(self, event: StreamEvent) -> StreamEvent:
        if not (isinstance(event, StreamResponse) and self._is_discarding):
            return event
        return dataclasses.replace(event, headers=[*event.headers, (b"connection", b"close")])

    async def _handle_events(self) -> None:
        while not self._is_discarding:
            if self.connection.they_are_waiting_for_100_continue:
                await self._send_h11_event(h11.InformationalResponse(status_code=100, headers=[]))
            try:
                event = self.connection.next_event()
            except h11.RemoteProtocolError as error:
                await self._on_malformed(error)
                return
            if not await self._handle_event(event):
                return

    async def _handle_event(self, event: Any) -> bool:
        """Act on one event of h11; False when there is nothing more to read now."""
        if isinstance(event, h11.Request):
            await self._on_request(event)
        elif event is h11.PAUSED:
            self._is_discarding = True
        elif isinstance(event, h11.ConnectionClosed) or event is h11.NEED_DATA:
            return False
        elif self.stream is None:
            await self._on_late_body(event)
        elif isinstance(event, h11.Data):
            await self.stream.handle(Body(stream_id=STREAM_ID, data=bytes(event.data)))
        elif isinstance(event, h11.EndOfMessage):
            await self.stream.handle(EndBody(stream_id=STREAM_ID))
        else:
            await self.stream.handle(event)
        return True

    async def _on_late_body(self, event: Any) -> None:
        """Part of a body whose request is answered already: nobody wants it."""
        if isinstance(event, h11.EndOfMessage):
            self._late_body_ended.set()
            await super()._maybe_recycle()

    async def _on_request(self, request: h11.Request) -> None:
        await self.send(Updated(idle=False))
        config = self.config
        assert isinstance(config, StrictConfig)
        refusal = find_fault(request, config.max_num_headers, config.h11_max_incomplete_size)
        if refusal is not None:
            await self._refuse(refusal)
            return
        target = origin_form(bytes(request.target))
        assert target is not None
        self._is_head_only, self._held_head = request.method == b"HEAD", None
        await self._create_stream(
            h11.Request(
                method=request.method,
                target=target,
                headers=request.headers,
                http_version=request.http_version,
            )
        )

    async def _on_malformed(self, error: h11.RemoteProtocolError) -> None:
        status = error.error_status_hint if error.error_status_hint < 500 else 400
        if self.connection.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            self._is_discarding = True  # also of what the view may still want to say
            await self._close_stream()
            await self._refuse(APIError(MALFORMED.get(status, MALFORMED[400]), status=status))
        else:
            await self.send(Closed())

    async def _refuse(self, error: APIError) -> None:
        """Answer with `error`, then close once the client has stopped sending."""
        self._is_discarding = True
        await self._send_refusal(error)
        self.task_group.spawn(self._close_after_lingering)

    async def _send_refusal(self, error: APIError) -> None:
        config = self.config
        assert isinstance(config, StrictConfig)
        body = orjson.dumps(error_body(error, config.error_format))
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode("ascii")),
            (b"x-request-id", f"req_{uuid.uuid4().hex}".encode("ascii")),
            (b"openai-processing-ms", b"0"),
            (b"openai-version", OPENAI_VERSION.encode("ascii")),
            (b"connection", b"close"),
        ]
        await self._send_h11_event(
            h11.Response(
                status_code=error.status,
                headers=list(chain(headers, config.response_headers("h11"))),
            )
        )
        await self._send_h11_event(h11.Data(data=body))
        await self._send_h11_event(h11.EndOfMessage())

    async def _maybe_recycle(self) -> None:
        """The answer is out: make ready for the next request, or close.

        This runs in the task of the view, which `_close_stream` gets cancelled; so waiting is
        left to other tasks.
        """
        if self._is_gone.is_set() or self.context.terminated.is_set():
            await self._close_stream()
            await self.send(Closed())
        elif self._is_discarding:
            self.task_group.spawn(self._close_after_lingering)
            await self._close_stream()
        elif self.connection.their_state is h11.SEND_BODY:
            self._late_body_ended.clear()
            self.task_group.spawn(self._close_unless_body_ends)
            await self._close_stream()
        else:
            await super()._maybe_recycle()

    async def _close_after_lingering(self) -> None:
        """Close, but not while unread bytes would make the kernel reset the connection."""
        if self.connection.their_state not in {h11.DONE, h11.MUST_CLOSE, h11.CLOSED}:
            await _wait_for(self._is_gone)
        await self.send(Closed())

    async def _close_unless_body_ends(self) -> None:
        if not await _wait_for(self._late_body_ended):
            self._is_discarding = True
            await self.send(Closed())

    async def _check_protocol(self, event: h11.Request) -> None:
        """No cleartext HTTP/2."""


async def _wait_for(event: asyncio.Event) -> bool:
    """Whether it came within `LINGER_S` seconds."""
    try:
        async with asyncio.timeout(LINGER_S):
            await event.wait()
    except TimeoutError:
        return False
    return True


MALFORMED = {
    400: "The request is not valid HTTP.",
    413: "The request body is larger than this server accepts.",
    431: "The request's headers are too large.",
}


def find_fault(request: h11.Request, max_num_headers: int, max_head_bytes: int) -> APIError | None:
    """Why this request is not even given to the application; None if it is."""
    return find_excess(request, max_num_headers, max_head_bytes) or find_disorder(request)


def find_excess(request: h11.Request, max_num_headers: int, max_head_bytes: int) -> APIError | None:
    """What is larger than this server accepts."""
    if len(request.target) > max_head_bytes:
        return APIError("The request target is too long.", status=414)
    if head_bytes(request) > max_head_bytes:
        return APIError(MALFORMED[431], status=431)
    if len(request.headers) > max_num_headers:
        return APIError("The request has too many headers.", status=431)
    return None


def find_disorder(request: h11.Request) -> APIError | None:
    """What h11 lets pass and no client should send."""
    names = [name for name, _ in request.headers]
    if b"content-length" in names and b"transfer-encoding" in names:
        return APIError("A request must not have both Content-Length and Transfer-Encoding.")
    if request.http_version not in {b"1.0", b"1.1"}:
        return APIError("The HTTP version is not supported.")
    if origin_form(bytes(request.target)) is None:
        return APIError("The request target is not valid.")
    hosts = [value for name, value in request.headers if name == b"host"]
    if any(not HOST.fullmatch(host) for host in hosts):
        return APIError("The Host header is not valid.")
    return None


def head_bytes(request: h11.Request) -> int:
    """Size of the request line and the headers, without the blanks a client may have added."""
    line = len(request.method) + len(request.target) + len(" HTTP/1.1\r\n") + 1
    return line + sum(len(name) + len(value) + len(": \r\n") for name, value in request.headers)


def origin_form(target: bytes) -> bytes | None:
    """`/path?query` of a request target, which may be an absolute URL; None if it is neither."""
    if target.startswith(b"/"):
        return target
    match = ABSOLUTE.fullmatch(target)
    if match is None:
        return None
    rest = match.group(1)
    return rest if rest.startswith(b"/") else b"/" + rest
