"""Due events are claimed, sent, and sent again with growing pauses.

A row is claimed by moving its due time ahead, in one statement, so that of several processes one
sends it; if that one dies, the row is due again when the claim is over. An event may so arrive
twice (receivers tell by `webhook-id`), and is given up only after the last pause.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence

import httpx
from sqlalchemy import delete, select, update

from api.services.webhooks.signing import signed_headers
from api.services.webhooks.target import Resolve, TargetError, find_target, resolve_name
from api.storage.database import Database
from api.storage.tables.webhooks import WebhookDeliveryRow, WebhookEndpointRow

PAUSES_S = (5, 30, 300, 1800, 7200, 18000, 36000, 50400, 72000)
"""After each failed attempt but the last: about two and a half days together."""
ATTEMPT_S = 15.0
CLAIM_S = 60.0
MAX_AT_ONCE = 16

log = logging.getLogger("servax.webhooks")


def make_client() -> httpx.AsyncClient:
    """No redirects, no proxies from the environment, no cookies kept between endpoints."""
    return httpx.AsyncClient(follow_redirects=False, trust_env=False, timeout=ATTEMPT_S)


class Deliverer:
    """Sends what is due."""

    def __init__(
        self,
        database: Database,
        client: httpx.AsyncClient,
        allowed: Sequence[str],
        resolve: Resolve = resolve_name,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._client = client
        self._allowed = tuple(allowed)
        self._resolve = resolve
        self._clock = clock

    async def deliver_due(self) -> int:
        """Try once whatever is due now, a few at a time; how many were tried.

        Raises:
            StorageError: the database cannot be used; what was sent may be sent again.
        """
        claimed = await self._claim()
        await asyncio.gather(*map(self._deliver, claimed))
        return len(claimed)

    async def _claim(self) -> Sequence[WebhookDeliveryRow]:
        now_ms = int(self._clock() * 1000)
        due = (
            select(WebhookDeliveryRow.id)
            .where(WebhookDeliveryRow.due_at_ms <= now_ms)
            .order_by(WebhookDeliveryRow.due_at_ms)
            .limit(MAX_AT_ONCE)
            .with_for_update(skip_locked=True)
        )
        claiming = (
            update(WebhookDeliveryRow)
            .where(WebhookDeliveryRow.id.in_(due))
            .values(
                due_at_ms=now_ms + int(CLAIM_S * 1000),
                num_attempts=WebhookDeliveryRow.num_attempts + 1,
            )
            .returning(WebhookDeliveryRow)
        )
        async with self._database.writing() as session:
            return (await session.scalars(claiming)).all()

    async def _deliver(self, row: WebhookDeliveryRow) -> None:
        async with self._database.reading() as session:
            endpoint = await session.get(WebhookEndpointRow, row.endpoint_id)
        failure = None if endpoint is None else await self._attempt(endpoint, row)
        if failure is not None:
            log.warning("webhook %s, attempt %d: %s", row.event_id, row.num_attempts, failure)
        async with self._database.writing() as session:
            if failure is None or row.num_attempts > len(PAUSES_S):
                await session.execute(
                    delete(WebhookDeliveryRow).where(WebhookDeliveryRow.id == row.id)
                )
            else:
                due_at_s = self._clock() + PAUSES_S[row.num_attempts - 1]
                await session.execute(
                    update(WebhookDeliveryRow)
                    .where(WebhookDeliveryRow.id == row.id)
                    .values(due_at_ms=int(due_at_s * 1000))
                )

    async def _attempt(self, endpoint: WebhookEndpointRow, row: WebhookDeliveryRow) -> str | None:
        """Send it once; what went wrong, in words for the operator's log."""
        signed = signed_headers(endpoint.secret, row.event_id, int(self._clock()), row.body)
        try:
            async with asyncio.timeout(ATTEMPT_S):
                target = await find_target(endpoint.url, self._allowed, self._resolve)
                headers = {**signed, "host": target.host, "content-type": "application/json"}
                async with self._client.stream(
                    "POST",
                    target.url,
                    content=row.body,
                    headers=headers,
                    extensions={"sni_hostname": target.server_name},
                ) as answer:
                    return None if answer.is_success else f"HTTP {answer.status_code}"
        except TargetError as error:
            return str(error)
        except (httpx.HTTPError, TimeoutError) as error:
            return type(error).__name__
