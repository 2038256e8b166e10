"""`Idempotency-Key` around every route that takes a POST; see `api.services.access.idempotency`.

Answers of 2xx are kept, streams too; after any other, and after one that was left or failed on the
way, the next request is carried out anew.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import logging
import re
from collections.abc import AsyncIterable, AsyncIterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

import orjson
from quart import Quart, Response, g, request
from quart.wrappers.response import ResponseBody

from api.context import ServerState
from api.errors import APIError
from api.http.access import request_state
from api.http.json_body import FIELDS_KEY, peek_body
from api.http.noted_fields import warning_headers
from api.keys.auth import is_public
from api.storage.ids import derived_id

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from api.services.access.idempotency import Answered, Claim

KEY = re.compile(r"[\x21-\x7e]{1,255}")
KEPT_HEADERS = ("content-type", "warning", "cache-control", "x-accel-buffering")
REPLAYED = "idempotent-replayed"
FAILED = re.compile(rb'(^|\n\n)(data: \{"error":|event: error\n)')
"""What a stream that failed says; JSON has no line breaks of its own."""
ENDS = (b"data: [DONE]\n\n", b'"type":"message_stop"}\n\n')
"""What the last piece of a stream ends with."""

log = logging.getLogger("servax.access")


def install_idempotency(app: Quart, state: ServerState) -> None:
    """Honour the header. Comes after the guard: what is refused there claims nothing."""

    async def begin() -> Response | None:
        key = request.headers.get("idempotency-key")
        view = app.view_functions.get(request.endpoint or "")
        if key is None or request.method != "POST" or view is None or is_public(view):
            return None
        return await _begin(state, key)

    async def end(response: Response) -> Response:
        claim: Claim | None = g.get("claim")
        if claim is not None:
            await _end(claim, response)
        return response

    app.before_request(begin)
    app.after_request(end)


async def _begin(state: ServerState, key: str) -> Response | None:
    from api.services.access.idempotency import StoredAnswer, claim
    from api.storage.errors import StorageError

    if not KEY.fullmatch(key):
        raise _refused("expected 1 to 255 visible ASCII characters")
    if request.mimetype == "multipart/form-data":
        raise _refused("it does not go with uploads, which are not held in memory")
    if state.storage is None:
        raise StorageError
    request_hash = hashlib.sha256(_target() + await peek_body(request)).digest()
    found = await claim(state.storage.database, g.tenant.project_id, key, request_hash)
    if isinstance(found, StoredAnswer):
        headers = {**found.headers, REPLAYED: "true"}
        return Response(found.body, status=found.status, headers=headers)
    g.claim = found
    request_state(request.scope).closers.append(lambda: _release(found))
    return None


def _target() -> bytes:
    """What decides the answer beside the body: also the header that chooses the names of events,
    and fields that the path sets, as Azure's do."""
    from api.services.responses.exchange import DIALECT_HEADER

    target = f"{request.method} {request.path}?{request.query_string.decode('latin-1')}\0"
    chosen = {DIALECT_HEADER: request.headers.get(DIALECT_HEADER)}
    told = {name: value for name, value in chosen.items() if value}
    told |= request.scope.get(FIELDS_KEY, {})
    return target.encode() + (orjson.dumps(told, option=orjson.OPT_SORT_KEYS) if told else b"")


def id_of(kind: str) -> str | None:
    """The id of what the current request makes, the same for each attempt to carry it out; None
    without an `Idempotency-Key`."""
    claim: Claim | None = g.get("claim")
    return None if claim is None else derived_id(kind, claim.origin, 0)


def answered() -> Answered:
    """How the transaction that does what the current request asks for keeps its answer."""
    from api.services.access.idempotency import MAX_ANSWER_BYTES, StoredAnswer, unasked

    claim: Claim | None = g.get("claim")
    if claim is None:
        return unasked

    async def keep(session: AsyncSession, body: Mapping[str, Any]) -> None:
        headers = {"content-type": "application/json"} | warning_headers()
        answer = StoredAnswer(200, headers, orjson.dumps(body))
        if len(answer.body) <= MAX_ANSWER_BYTES:
            await claim.answered(session, answer)

    return keep


async def _release(claim: Claim) -> None:
    """If there was no whole answer. Where the database fails the lease runs out."""
    with contextlib.suppress(APIError):
        await claim.release()


async def _end(claim: Claim, response: Response) -> None:
    from api.services.access.idempotency import MAX_ANSWER_BYTES, StoredAnswer

    if not 200 <= response.status_code < 300:
        await _release(claim)
        return
    headers = {name: response.headers[name] for name in KEPT_HEADERS if name in response.headers}
    keeping = _Keeping(claim, StoredAnswer(response.status_code, headers, b""), MAX_ANSWER_BYTES)
    if response.content_length is not None:
        body = await response.get_data(as_text=False)
        keeping.take(body)
        await keeping.complete()
    else:
        response.response = _KeptBody(response.response, keeping)


class _Keeping:
    """Collects an answer on its way out."""

    def __init__(self, claim: Claim, answer: Any, max_bytes: int) -> None:
        self._claim = claim
        self._answer = answer
        self._max_bytes = max_bytes
        self._pieces: list[bytes] = []
        self._num_bytes = 0
        self._is_fit = True
        self._is_over = False

    def take(self, piece: bytes) -> None:
        """One piece of the body."""
        self._num_bytes += len(piece)
        self._is_fit = (
            self._is_fit and self._num_bytes <= self._max_bytes and not FAILED.search(piece)
        )
        if self._is_fit:
            self._pieces.append(piece)
        else:
            self._pieces.clear()

    async def complete(self) -> None:
        """The answer is whole. A fault of the database does not keep it from its client."""
        if self._is_over:
            return
        self._is_over = True
        try:
            if self._is_fit:
                whole = dataclasses.replace(self._answer, body=b"".join(self._pieces))
                await self._claim.complete(whole)
            else:
                await _release(self._claim)
        except APIError:
            log.error("an answer could not be kept for its Idempotency-Key")


class _KeptBody(ResponseBody):
    """A streamed body that is kept while it is sent, and committed before its last piece is."""

    def __init__(self, inner: ResponseBody, keeping: _Keeping) -> None:
        self._inner = inner
        self._keeping = keeping

    async def __aenter__(self) -> AsyncIterable[bytes]:
        return self._pieces(await self._inner.__aenter__())

    async def __aexit__(self, exc_type: type, exc_value: BaseException, tb: TracebackType) -> None:
        await self._inner.__aexit__(exc_type, exc_value, tb)

    async def _pieces(self, source: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
        async for piece in source:
            self._keeping.take(piece)
            if piece.endswith(ENDS):
                await self._keeping.complete()
            yield piece
        await self._keeping.complete()


def _refused(reason: str) -> APIError:
    return APIError(
        f"Invalid 'Idempotency-Key': {reason}.", param="Idempotency-Key", code="invalid_value"
    )
