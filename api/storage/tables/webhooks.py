"""Webhooks: where a project wants its events, and what is still to be told there."""

from __future__ import annotations

from sqlalchemy import BigInteger, Integer, LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from api.storage.base import ID, FreeText, Json
from api.storage.owned import OwnedRow


class WebhookEndpointRow(OwnedRow):
    """One address of a project.

    Attributes:
        secret: what its deliveries are signed with; kept as it is, for every signature needs it.
        event_types: those it wants, such as `batch.completed`; empty = all.
    """

    __tablename__ = "webhook_endpoints"

    url: Mapped[str] = mapped_column(FreeText)
    secret: Mapped[bytes] = mapped_column(LargeBinary)
    event_types: Mapped[list[str]] = mapped_column(Json)


class WebhookDeliveryRow(OwnedRow):
    """One event for one endpoint. The row is the promise: it goes when the endpoint has said 2xx,
    or when the last attempt has failed.

    Attributes:
        endpoint_id: whose row may be gone meanwhile; then nothing is delivered any more.
        event_id: the same for all endpoints of an event and all attempts; receivers tell repeats
            by it.
        body: the event, as the bytes that are signed.
        num_attempts: deliveries that began.
        due_at_ms: Unix time in milliseconds of the next attempt; while one is under way the time
            at which it counts as lost.
    """

    __tablename__ = "webhook_deliveries"

    endpoint_id: Mapped[str] = mapped_column(ID)
    event_id: Mapped[str] = mapped_column(ID)
    body: Mapped[bytes] = mapped_column(LargeBinary)
    num_attempts: Mapped[int] = mapped_column(Integer)
    due_at_ms: Mapped[int] = mapped_column(BigInteger, index=True)
