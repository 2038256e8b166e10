"""Where a project wants to be told, as the operator says."""

from __future__ import annotations

import time
from collections.abc import Sequence

from sqlalchemy import delete, select

from api.errors import APIError
from api.services.webhooks.events import EVENT_TYPES
from api.services.webhooks.signing import new_secret
from api.services.webhooks.target import TargetError, verify_url
from api.storage.database import Database
from api.storage.ids import new_id
from api.storage.tables.webhooks import WebhookEndpointRow

MAX_URL_CHARACTERS = 2048


async def add_endpoint(
    database: Database,
    project_id: str,
    url: str,
    event_types: Sequence[str],
    allowed: Sequence[str],
) -> WebhookEndpointRow:
    """Tell `url` of a project's events (all types, if none is named).

    Raises:
        APIError: 400, the URL may not be called or a type does not exist.
    """
    for event_type in event_types:
        if event_type not in EVENT_TYPES:
            raise APIError(f"There is no event type {event_type!r}.", param="event")
    try:
        if len(url) > MAX_URL_CHARACTERS:
            raise TargetError("it is too long")
        verify_url(url, allowed)
    except TargetError as error:
        raise APIError(f"This URL cannot be called: {error}.", param="url") from None
    row = WebhookEndpointRow(
        id=new_id("webhook"),
        project_id=project_id,
        created_at=int(time.time()),
        url=url,
        secret=new_secret(),
        event_types=list(event_types),
    )
    async with database.writing() as session:
        session.add(row)
    return row


async def list_endpoints(database: Database) -> Sequence[WebhookEndpointRow]:
    """Those of all projects, in order of creation."""
    async with database.reading() as session:
        return (
            await session.scalars(select(WebhookEndpointRow).order_by(WebhookEndpointRow.id))
        ).all()


async def remove_endpoint(database: Database, endpoint_id: str) -> None:
    """Tell it nothing more. Raises APIError 404 if there is none."""
    async with database.writing() as session:
        gone = await session.execute(
            delete(WebhookEndpointRow)
            .where(WebhookEndpointRow.id == endpoint_id)
            .returning(WebhookEndpointRow.id)
        )
        if gone.first() is None:
            raise APIError(
                f"No such webhook: {endpoint_id[:128]}", status=404, param="id", code="not_found"
            )
