from __future__ import annotations

import asyncio
from typing import Any, cast

from quart import Quart

from api.app import create_app, make_state
from api.http.websocket_queue import MAX_UNREAD, BoundedWebsocketConnection
from api.settings import ServerSettings


async def test_a_client_that_sends_faster_than_it_is_served_waits() -> None:
    num_read = 0

    async def receive() -> Any:
        nonlocal num_read
        num_read += 1
        return {"type": "websocket.receive", "text": "{}"}

    connection = BoundedWebsocketConnection(Quart("test"), cast(Any, {}))
    reading = asyncio.create_task(connection.handle_messages(cast(Any, receive)))
    await asyncio.sleep(0.05)
    assert num_read == MAX_UNREAD + 1
    reading.cancel()


def test_the_servers_websockets_are_such() -> None:
    app = create_app(make_state(ServerSettings(), "m"))
    assert app.asgi_websocket_class is BoundedWebsocketConnection
