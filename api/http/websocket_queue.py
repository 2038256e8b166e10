"""WebSockets whose unread messages are few: a client that sends faster than it is served waits."""

from __future__ import annotations

import asyncio
from typing import Any

from quart import Quart
from quart.asgi import ASGIWebsocketConnection

MAX_UNREAD = 16


class BoundedWebsocketConnection(ASGIWebsocketConnection):
    """Quart's, with a bound; beyond it nothing more is read from the socket."""

    def __init__(self, app: Quart, scope: Any) -> None:
        super().__init__(app, scope)
        self.queue = asyncio.Queue(MAX_UNREAD)
