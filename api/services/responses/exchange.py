"""One request to the Responses API: what it may use, and what its headers say."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from api.context import ServerContext
from api.protocol.responses.request import Dialect
from api.storage.errors import StorageError
from api.storage.store import Storage
from engine.errors import InvalidParameterError

DIALECT_HEADER = "X-Responses-Event-Dialect"
_DIALECTS: dict[str, Dialect] = {
    "openai": "openai",
    "openresponses": "openresponses",
    "seed": "seed",
}


@dataclasses.dataclass(frozen=True, slots=True)
class Remembered:
    """A response that only its connection knows.

    Attributes:
        items: all of its conversation, its output last.
    """

    id: str
    items: list[dict[str, Any]]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One request.

    Attributes:
        opened: the storage; None while it cannot be used.
        wake_jobs: tells the workers of this process that there is something to do.
        remembered: what the connection remembers of its newest response.
        remember: takes the `History` of a request, for a connection that remembers.
        request_id: the header `X-Request-Id` as it came; None without one.
        dialect: the header `X-Responses-Event-Dialect`; "" without one.
    """

    context: ServerContext
    opened: Storage | None = None
    wake_jobs: Callable[[], None] = lambda: None
    remembered: Remembered | None = None
    remember: Callable[[Any], None] = lambda _: None
    request_id: str | None = None
    dialect: str = ""

    @property
    def storage(self) -> Storage:
        """The storage. Raises StorageError while it cannot be used."""
        if self.opened is None:
            raise StorageError
        return self.opened

    def verify_storage(self) -> None:
        """Raise StorageError while there is none, before any work is done in vain."""
        if self.opened is None:
            raise StorageError

    @property
    def project_id(self) -> str:
        """Whose responses and conversations there are."""
        return self.context.tenant.project_id

    def dialect_for(self, asked: Dialect | None = None) -> Dialect:
        """Whose names events get: the body's choice, else the header's, else the server's.

        Raises:
            InvalidParameterError: the header names none.
        """
        if asked is not None:
            return asked
        if not self.dialect:
            return self.context.settings.responses_event_dialect
        if self.dialect not in _DIALECTS:
            raise InvalidParameterError(
                f"Invalid '{DIALECT_HEADER}': expected one of {', '.join(_DIALECTS)}.",
                param=DIALECT_HEADER,
            )
        return _DIALECTS[self.dialect]
