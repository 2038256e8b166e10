"""Events of background work, written in the same transaction as what they tell of.

So an event is told if and only if its change was committed, also when the process is killed in
between. `emit` is all that other services need.
"""

from __future__ import annotations

import time

import orjson
from sqlalchemy.ext.asyncio import AsyncSession

from api.storage.ids import new_id
from api.storage.owned import owned
from api.storage.tables.webhooks import WebhookDeliveryRow, WebhookEndpointRow

EVENT_TYPES = (
    *(f"response.{status}" for status in ("completed", "cancelled", "failed", "incomplete")),
    *(f"batch.{status}" for status in ("completed", "cancelled", "failed", "expired")),
)


async def emit(session: AsyncSession, project_id: str, event_type: str, resource_id: str) -> None:
    """Tell the project's endpoints that `resource_id` came to its end.

    Arguments:
        session: of the transaction that changes the resource (`database.writing()`).
        event_type: one of `EVENT_TYPES`.
    """
    assert event_type in EVENT_TYPES, event_type
    endpoints = await session.scalars(owned(WebhookEndpointRow, project_id))
    event_id, now_s = new_id("event"), time.time()
    body = orjson.dumps(
        {
            "id": event_id,
            "object": "event",
            "created_at": int(now_s),
            "type": event_type,
            "data": {"id": resource_id},
        }
    )
    for endpoint in endpoints:
        if not endpoint.event_types or event_type in endpoint.event_types:
            session.add(_delivery(endpoint, event_id, body, now_s))


def _delivery(
    endpoint: WebhookEndpointRow, event_id: str, body: bytes, now_s: float
) -> WebhookDeliveryRow:
    return WebhookDeliveryRow(
        id=new_id("webhook"),
        project_id=endpoint.project_id,
        created_at=int(now_s),
        endpoint_id=endpoint.id,
        event_id=event_id,
        body=body,
        num_attempts=0,
        due_at_ms=int(now_s * 1000),
    )
