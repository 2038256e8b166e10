"""The engine's side of a channel."""

from __future__ import annotations

import dataclasses
from typing import Protocol

from engine.messages import ToClient, ToEngine

ClientId = bytes


@dataclasses.dataclass(frozen=True, slots=True)
class Incoming:
    """What a client sent; `message` is None when the client is gone."""

    client_id: ClientId
    message: ToEngine | None


class Endpoint(Protocol):
    """Messages of many clients, for one thread."""

    def receive(self, timeout_s: float) -> list[Incoming]:
        """Everything that has arrived; waits up to `timeout_s` seconds for the first."""
        ...

    def send(self, client_id: ClientId, message: ToClient) -> None:
        """Queue a message. A client that cannot be reached is reported by `receive` as gone."""
        ...

    def close(self) -> None:
        """Hand over what was sent, then stop."""
        ...
