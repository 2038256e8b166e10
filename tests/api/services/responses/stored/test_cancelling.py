"""Background responses that are cancelled or deleted, wherever they are."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock

import pytest

from api.errors import APIError
from api.keys.accounts import UsageRecord
from api.services.responses.stored import background, retrieval
from tests.api.services.responses.stored.background_world import (
    FIELDS,
    is_over,
    retrieved,
    slow,
    streamed,
    until,
    until_closed,
    until_events,
    working,
)


@pytest.mark.parametrize("num_events", [0, 20])
async def test_a_response_is_cancelled_wherever_it_is(asker: Any, num_events: int) -> None:
    slow(asker)
    queued = await asker.ask(**FIELDS)
    async with working(asker):
        if num_events:
            await until_events(asker, queued["id"], num_events)
        body = await background.cancel(asker.exchange, queued["id"])
        assert body["status"] == "cancelled"
        if num_events:
            await until_closed(asker)
    used = body["usage"]
    assert used["input_tokens"] == len(asker.prompt()) if num_events else used["input_tokens"] > 0
    assert (used["output_tokens"] > 0) == bool(num_events)
    assert used["total_tokens"] == used["input_tokens"] + used["output_tokens"]
    assert await background.cancel(asker.exchange, queued["id"]) == body
    events = await streamed(asker, queued["id"])
    assert events[-1]["type"] == "response.incomplete"
    assert events[-1]["response"] == body == await retrieved(asker, queued["id"])
    added = [e["item"]["id"] for e in events if e["type"] == "response.output_item.added"]
    done = [e["item"]["id"] for e in events if e["type"] == "response.output_item.done"]
    assert added == done == [item["id"] for item in body["output"]]


async def test_a_cancelled_response_used_what_is_in_the_ledger(asker: Any) -> None:
    kept: list[UsageRecord] = []
    ledger = asker.speaker.context.accounts.ledger
    ledger.attach(SimpleNamespace(write=AsyncMock(side_effect=kept.extend)))
    slow(asker)
    queued = await asker.ask(**FIELDS)
    async with working(asker):
        await until_events(asker, queued["id"], 20)
        await asyncio.sleep(0.03)  # more was made since it was written down
        used = (await background.cancel(asker.exchange, queued["id"]))["usage"]
        await until_closed(asker)
        await ledger.flush()
    assert sum(record.num_generated_tokens for record in kept) == used["output_tokens"]


async def test_a_worker_that_does_not_answer_is_not_waited_for(
    asker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "CANCEL_S", 0.1)
    slow(asker, 60.0)
    queued = await asker.ask(**FIELDS)
    async with working(asker):
        await until(asker, queued["id"], lambda body: body["status"] == "in_progress")
        body = await background.cancel(asker.exchange, queued["id"])
    assert body["status"] == "cancelled"


async def test_a_response_that_is_over_is_not_changed_by_cancel(asker: Any) -> None:
    queued = await asker.ask(**FIELDS)
    async with working(asker):
        body = await until(asker, queued["id"], is_over)
    assert await background.cancel(asker.exchange, queued["id"]) == body
    plain = await asker.ask()
    with pytest.raises(APIError) as caught:
        await background.cancel(asker.exchange, plain["id"])
    assert (caught.value.status, caught.value.param) == (400, "response_id")


async def test_a_deleted_response_is_not_made_to_its_end(asker: Any) -> None:
    slow(asker)
    queued = await asker.ask(**FIELDS)
    async with working(asker):
        await until_events(asker, queued["id"], 5)
        await retrieval.delete_response(asker.exchange, queued["id"])
        await until_closed(asker)


async def test_who_follows_a_response_that_is_deleted_is_told_its_end(asker: Any) -> None:
    slow(asker, 0.02)
    queued = await asker.ask(**FIELDS)
    async with working(asker):
        following = asyncio.create_task(streamed(asker, queued["id"]))
        await until_events(asker, queued["id"], 8)
        await asyncio.sleep(2 * retrieval.POLL_S)
        await retrieval.delete_response(asker.exchange, queued["id"])
        events = await following
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    last = events[-1]
    assert (last["type"], last["response"]["status"]) == ("response.failed", "failed")
    assert (last["response"]["id"], last["response"]["error"]["code"]) == (
        queued["id"], "server_error")  # fmt: skip
    added = [e["item"]["id"] for e in events if e["type"] == "response.output_item.added"]
    done = [e["item"]["id"] for e in events if e["type"] == "response.output_item.done"]
    assert added == done == [item["id"] for item in last["response"]["output"]] != []
