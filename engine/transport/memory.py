"""A channel without a wire: the same objects, passed as they are."""

from __future__ import annotations

import collections
import time

from engine.messages import ToClient, ToEngine
from engine.transport.endpoint import ClientId, Incoming


class MemoryEndpoint:
    """The engine's side; clients are made by naming them. Everything happens in one thread."""

    def __init__(self) -> None:
        self._arrived: collections.deque[Incoming] = collections.deque()
        self._outgoing: dict[ClientId, collections.deque[ToClient]] = {}

    def receive(self, timeout_s: float) -> list[Incoming]:
        """What clients have put. With nothing there it sleeps: other threads may be at work."""
        if timeout_s and not self._arrived:
            time.sleep(timeout_s)
        arrived = list(self._arrived)
        self._arrived.clear()
        return arrived

    def send(self, client_id: ClientId, message: ToClient) -> None:
        """Leave a message for `take`; a client that disconnected gets nothing."""
        if client_id in self._outgoing:
            self._outgoing[client_id].append(message)

    def close(self) -> None:
        """Nothing is held."""

    def put(self, client_id: ClientId, message: ToEngine) -> None:
        """Send as this client."""
        self._outgoing.setdefault(client_id, collections.deque())
        self._arrived.append(Incoming(client_id, message))

    def take(self, client_id: ClientId) -> list[ToClient]:
        """Receive everything as this client."""
        outgoing = self._outgoing.get(client_id, collections.deque())
        taken = list(outgoing)
        outgoing.clear()
        return taken

    def disconnect(self, client_id: ClientId) -> None:
        """Let this client vanish."""
        self._outgoing.pop(client_id, None)
        self._arrived.append(Incoming(client_id, None))
