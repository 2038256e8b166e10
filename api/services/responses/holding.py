"""`tool_outputs_mode: "hold"`: the stream stays open while its client runs the tools, and goes on
with what they gave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from api.errors import APIError
from api.protocol.responses.items import ITEMS
from api.protocol.responses.request import ResponsesRequest
from api.services.responses.conversation.history import History
from api.services.responses.exchange import Exchange
from api.services.responses.objects.ids import item_id
from api.services.responses.objects.open_items import Item
from api.services.responses.objects.snapshot import Snapshot
from api.services.responses.request.conversion import Placed
from api.services.responses.request.job import OUTPUT_OF, Round
from api.services.responses.request.making import make_job
from api.storage.tables.responses import ResponseRow

TIMEOUT_S = 600.0
POLL_S = 0.1
KEEP_ALIVE_S = 10.0


class Holding:
    """Waits for the outputs of one response's calls, whichever worker they are given to."""

    def __init__(
        self,
        exchange: Exchange,
        request: ResponsesRequest,
        body: dict[str, Any],
        history: History,
    ) -> None:
        self._exchange = exchange
        self._request = request
        self._body = body
        self._history = history

    async def after(
        self, snapshot: Snapshot, calls: Sequence[Item], left: int | None
    ) -> AsyncGenerator[Round | None, None]:
        """None as a sign of life now and then; at last the next round, unless it is too late.

        Raises:
            APIError: the response was deleted, or cannot go on; 503, the server ends.
        """
        await self._show(snapshot)
        loop = asyncio.get_running_loop()
        start_s = told_s = loop.time()
        while (outputs := await self._outputs(snapshot["id"], calls)) is None:
            now_s = loop.time()
            if now_s - start_s > TIMEOUT_S:
                return
            if now_s - told_s > KEEP_ALIVE_S:
                told_s = now_s
                yield None
            await self._exchange.context.unless_ending(asyncio.sleep(POLL_S))
        yield await self._round(snapshot, calls, left, outputs)

    async def _show(self, snapshot: Snapshot) -> None:
        """Who asks for the response sees the calls that it waits for."""
        async with self._exchange.storage.database.writing() as session:
            row = await session.get(ResponseRow, snapshot["id"])
            if row is not None and row.is_open:
                row.body = snapshot

    async def _outputs(self, response_id: str, calls: Sequence[Item]) -> dict[str, Any] | None:
        async with self._exchange.storage.database.reading() as session:
            row = await session.get(ResponseRow, response_id)
        if row is None or not row.is_open:
            raise APIError("The response was deleted.", status=409, code="not_found")
        is_complete = all(call["call_id"] in row.outputs for call in calls)
        return row.outputs if is_complete else None

    async def _round(
        self,
        snapshot: Snapshot,
        calls: Sequence[Item],
        left: int | None,
        outputs: dict[str, Any],
    ) -> Round:
        made = snapshot["output"]
        items = answers(snapshot["id"], calls, outputs, first=len(made))
        later = ITEMS.validate_python([*made, *items])
        job = await make_job(
            self._exchange.context,
            self._request,
            self._body,
            items=[*self._history.items, *map(Placed, later)],
            response_id=snapshot["id"],
            num_before=len(made),
            left=left,
        )
        return Round(items=items, chat=job.chat)


def answers(
    response_id: str, calls: Sequence[Item], outputs: dict[str, Any], *, first: int
) -> list[Item]:
    """Items with what was given, in the order of the calls."""
    return [
        {
            "id": item_id(response_id, OUTPUT_OF[call["type"]], first + index),
            "type": OUTPUT_OF[call["type"]],
            "status": "completed",
            "call_id": call["call_id"],
            "output": outputs[call["call_id"]],
        }
        for index, call in enumerate(calls)
    ]
