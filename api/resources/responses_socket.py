"""The WebSocket of the Responses API."""

from __future__ import annotations

import asyncio

from quart import Blueprint, g, websocket

from api.context import context, server_state
from api.errors import unavailable
from api.services.generation.events import told
from api.services.responses.exchange import DIALECT_HEADER, Exchange
from api.services.responses.socket import LIMIT_S, TOO_OLD, SocketSession, error_frame

blueprint = Blueprint("responses_socket", __name__)


@blueprint.websocket("/v1/responses")
async def connect() -> None:
    """Responses, one after the other."""
    state = server_state()
    session = SocketSession(
        Exchange(
            context=context(),
            opened=state.storage,
            wake_jobs=state.wake_jobs,
            request_id=websocket.headers.get("X-Request-Id"),
            dialect=websocket.headers.get(DIALECT_HEADER, ""),
        )
    )
    quota = state.accounts.quotas.of(g.tenant)
    loop = asyncio.get_running_loop()
    end_s = loop.time() + LIMIT_S
    while (left_s := end_s - loop.time()) > 0:
        try:
            message = await asyncio.wait_for(websocket.receive(), left_s)
        except TimeoutError:
            break
        try:
            if state.admission.is_draining:
                raise unavailable("The server is shutting down.", "shutting_down")
            quota.admit()
        except Exception as error:
            await websocket.send(_text(error_frame(told(error))))
            continue
        async for frame in session.answer(message):
            await websocket.send(_text(frame))
    await websocket.send(_text(error_frame(TOO_OLD)))
    await websocket.close(1000)


def _text(frame: bytes) -> str:
    return frame.decode()
