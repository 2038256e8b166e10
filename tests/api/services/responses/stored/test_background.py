"""Background responses: made by workers, taken over; streams read what was written."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import time
from collections.abc import AsyncGenerator
from copy import copy
from typing import Any

import pytest
from sqlalchemy import select, update

from api.errors import APIError
from api.keys.tenant import Tenant
from api.services.responses.stored import background, retrieval
from api.storage.errors import StorageError
from api.storage.ids import new_id
from api.storage.tables.responses import ResponseRow
from api.storage.tables.usage import UsageRow
from api.storage.tables.webhooks import WebhookDeliveryRow, WebhookEndpointRow
from api.workers import responses
from api.workers import runner as runners
from engine.errors import EngineDiedError
from tests.api.services.responses.stored.background_world import (
    CALL,
    FIELDS,
    LOOK,
    is_over,
    joined,
    known,
    retrieved,
    slow,
    streamed,
    until,
    until_events,
    without_ids,
    working,
)


async def test_it_is_queued_at_once_and_made_by_a_worker(asker: Any) -> None:
    queued = await asker.ask(**FIELDS)
    assert (queued["status"], queued["output"]) == ("queued", [])
    assert asker.speaker.engine.requests == []
    async with working(asker):
        body = await until(asker, queued["id"], is_over)
    assert body["status"] == "completed"
    plain = await asker.ask(tools=[LOOK])
    assert without_ids(body["output"]) == without_ids(plain["output"])
    assert body["usage"]["output_tokens"] == plain["usage"]["output_tokens"]


async def test_a_bad_request_is_refused_and_not_queued(asker: Any) -> None:
    with pytest.raises(APIError):
        await asker.ask(model="x", **FIELDS)
    async with asker.storage.database.reading() as session:
        assert (await session.scalars(select(ResponseRow))).all() == []


async def test_its_stream_follows_while_it_is_made_and_can_be_read_again(asker: Any) -> None:
    slow(asker)
    async with working(asker):
        events = await asker.stream(**FIELDS)
    kinds = [event["type"] for event in events]
    assert kinds[:3] == ["response.created", "response.queued", "response.in_progress"]
    assert [event["response"]["status"] for event in events[:3]] == [
        "queued", "queued", "in_progress",
    ]  # fmt: skip
    assert kinds[-1] == "response.completed"
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    response_id = events[0]["response"]["id"]
    assert await streamed(asker, response_id) == events
    assert await streamed(asker, response_id, 5) == events[6:]


@pytest.mark.parametrize("num_events", [3, 8, 20, 35])
@pytest.mark.parametrize("per_delta", [1, 4])
async def test_another_worker_goes_on_where_the_first_one_ended(
    asker: Any, monkeypatch: Any, num_events: int, per_delta: int
) -> None:
    monkeypatch.setattr(background, "PACE_S", 0.0)
    slow(asker, 0.004)
    fields = FIELDS | {"include": ["message.output_text.logprobs"]}
    queued = await asker.ask(**fields)
    async with working(asker):
        await until_events(asker, queued["id"], num_events)
    before = await known(asker, queued["id"])
    assert len(before) >= num_events
    assert not is_over(await retrieved(asker, queued["id"]))
    asker.speaker.engine.tokens_per_delta = per_delta
    async with working(asker):
        events = await streamed(asker, queued["id"])
    assert events[: len(before)] == before
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert sum(event["type"].startswith("response.completed") for event in events) == 1
    whole = await asker.stream(tools=[LOOK], include=["message.output_text.logprobs"])
    assert joined(events) == joined(whole)
    response = events[-1]["response"]
    assert without_ids(response["output"]) == without_ids(whole[-1]["response"]["output"])
    scores = [s for e in events if e["type"] == "response.output_text.delta" for s in e["logprobs"]]
    (message,) = [item for item in response["output"] if item["type"] == "message"]
    assert scores == message["content"][0]["logprobs"]


async def test_a_worker_that_died_is_replaced_when_its_lease_ends(asker: Any) -> None:
    queued = await asker.ask(**FIELDS)
    async with asker.storage.database.writing() as session:
        await session.execute(
            update(ResponseRow).values(lease_owner="dead", lease_number=1, lease_until=0)
        )
    async with working(asker):
        assert (await until(asker, queued["id"], is_over))["status"] == "completed"


async def test_two_workers_make_each_response_once(asker: Any) -> None:
    slow(asker, 0.001)
    made = [await asker.ask(**FIELDS) for _ in range(12)]
    async with working(asker), working(asker):
        for queued in made:
            assert (await until(asker, queued["id"], is_over))["status"] == "completed"
    assert len(asker.speaker.engine.requests) == 12


async def test_a_dead_engine_is_tried_again(asker: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(runners, "RETRY_S", 0.05)
    engine = asker.speaker.engine
    engine.failure, engine.failure_after = EngineDiedError("gone"), 20
    queued = await asker.ask(**FIELDS)
    async with working(asker):
        await until_events(asker, queued["id"], 4)
        engine.failure = None
        body = await until(asker, queued["id"], is_over)
    assert body["status"] == "completed"
    assert len(engine.requests) >= 2


async def test_a_fault_of_its_own_ends_it_as_failed(asker: Any) -> None:
    engine = asker.speaker.engine
    engine.failure, engine.failure_after = RuntimeError("secret"), 4
    queued = await asker.ask(**FIELDS)
    async with working(asker):
        body = await until(asker, queued["id"], is_over)
    assert (body["status"], body["error"]["code"]) == ("failed", "server_error")
    assert "secret" not in json.dumps(await streamed(asker, queued["id"]))


async def test_a_fault_of_the_storage_ends_nothing(asker: Any, monkeypatch: Any) -> None:
    written, monkeypatched = responses._write, iter([True])

    async def write(*arguments: Any) -> None:
        if next(monkeypatched, False):
            raise StorageError
        await written(*arguments)

    monkeypatch.setattr(responses, "_write", write)
    monkeypatch.setattr(runners, "RETRY_S", 0.01)
    queued = await asker.ask(**FIELDS)
    async with working(asker):
        body = await until(asker, queued["id"], is_over)
    assert body["status"] == "completed"


@pytest.mark.parametrize("dialect", ["openai", "openresponses"])
async def test_a_stream_that_cannot_be_read_on_says_so_and_its_response_goes_on(
    asker: Any, monkeypatch: Any, dialect: str
) -> None:
    slow(asker)
    body = {"input": "hi", "stream": True, "event_dialect": dialect, **FIELDS}
    answer = await asker.answer(body)
    first = await anext(answer.events)
    response_id = first.split(b'"id":"')[1].partition(b'"')[0].decode()
    async with working(asker):
        with monkeypatch.context() as patch:
            patch.setattr(retrieval, "events_after", broken)
            rest = b"".join([event async for event in answer.events])
        assert rest.startswith(b"event: error\n")
        assert b"storage_unavailable" in rest
        assert rest.endswith(b"data: [DONE]\n\n")
        last = json.loads(rest.split(b"data: ")[1])["sequence_number"]
        assert first.endswith(b'"sequence_number":%d}\n\n' % last)
        later = await streamed(asker, response_id, last)
    assert later[0]["sequence_number"] == last + 1
    assert later[-1]["type"] == "response.completed"


async def test_a_stream_is_cut_when_the_server_ends_and_can_be_read_on(asker: Any) -> None:
    slow(asker)
    answer = await asker.answer({"input": "hi", "stream": True, **FIELDS})
    first = await anext(answer.events)
    response_id = first.split(b'"id":"')[1].partition(b'"')[0].decode()
    asker.speaker.context.ending.set()
    rest = b"".join([event async for event in answer.events])
    assert rest.startswith(b"event: error\n")
    assert b"server_shutting_down" in rest
    assert rest.endswith(b"data: [DONE]\n\n")
    last = json.loads(rest.split(b"data: ")[1])["sequence_number"]
    asker.speaker.context.ending.clear()
    async with working(asker):
        later = await streamed(asker, response_id, last)
    assert later[0]["sequence_number"] == last + 1
    assert later[-1]["type"] == "response.completed"


async def broken(*_: Any) -> Any:
    raise StorageError


async def test_a_stream_whose_process_died_ends_as_failed(asker: Any) -> None:
    slow(asker)
    answer = await asker.answer({"input": "hi", "stream": True})
    first = await anext(answer.events)
    response_id = first.split(b'"id":"')[1].partition(b'"')[0].decode()
    async with asker.storage.database.writing() as session:  # as when nobody renews it
        await session.execute(update(ResponseRow).values(lease_until=0))
    async with working(asker):
        body = await until(asker, response_id, is_over)
    assert (body["status"], body["error"]["code"]) == ("failed", "server_error")
    assert body["usage"]["input_tokens"] == len(asker.prompt())
    rest = b"".join([event async for event in answer.events])
    assert rest.count(b"event: response.failed") == 1
    assert (await streamed(asker, response_id))[-1]["type"] == "response.failed"
    # the client may have seen more events than were written down: it hears the end in any case
    assert (await streamed(asker, response_id, 1000))[-1]["type"] == "response.failed"


async def test_what_a_dead_process_had_used_for_a_stream_is_in_the_ledger(asker: Any) -> None:
    """Less what it had written there itself."""
    slow(asker)
    answer = await asker.answer({"input": "hi", "stream": True})
    first = await anext(answer.events)
    response_id = first.split(b'"id":"')[1].partition(b'"')[0].decode()
    own = {"project_id": asker.exchange.project_id, "key_id": asker.exchange.context.tenant.key_id}
    tokens = {"num_prompt_tokens": 1, "num_cached_tokens": 0, "num_generated_tokens": 5}
    async with asker.storage.database.writing() as session:
        await session.execute(update(ResponseRow).values(lease_until=0))
        ended = {"created_at": int(time.time()), "model": "m", "outcome": "length"}
        session.add(UsageRow(id=f"{response_id}-0-abcd", **own, **ended, **tokens))
        session.add(UsageRow(id=f"{response_id[:-1]}-0-abcd", **own, **ended, **tokens))
    async with working(asker):
        body = await until(asker, response_id, is_over)
    async with asker.storage.database.reading() as session:
        left = await session.get_one(UsageRow, f"{response_id}-left")
    assert (left.outcome, left.key_id) == ("left", own["key_id"])
    assert left.num_prompt_tokens == body["usage"]["input_tokens"] - 1
    assert left.num_generated_tokens == 0
    await answer.events.aclose()


async def test_webhooks_are_told_when_it_is_over(asker: Any) -> None:
    async with asker.storage.database.writing() as session:
        session.add(endpoint(asker.exchange.project_id))
    queued = await asker.ask(**FIELDS)
    async with working(asker):
        await until(asker, queued["id"], is_over)
    await asker.ask()  # who waits for the answer needs no call
    async with asker.storage.database.reading() as session:
        (row,) = (await session.scalars(select(WebhookDeliveryRow))).all()
    event = json.loads(row.body)
    assert (event["type"], event["data"]["id"]) == ("response.completed", queued["id"])


async def test_nobody_else_can_cancel_or_follow(asker: Any) -> None:
    queued = await asker.ask(**FIELDS)
    stranger, speaker = copy(asker), copy(asker.speaker)
    speaker.context = speaker.context.for_tenant(Tenant(project_id="proj_other"))
    stranger.speaker = speaker
    for attempt in (
        background.cancel(stranger.exchange, queued["id"]),
        streamed(stranger, queued["id"]),
    ):
        with pytest.raises(APIError) as caught:
            await attempt
        assert caught.value.status == 404


async def test_there_is_a_bound_on_what_may_wait(asker: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(background, "MAX_OPEN", 2)
    for _ in range(2):
        await asker.ask(**FIELDS)
    with pytest.raises(APIError) as caught:
        await asker.ask(**FIELDS)
    assert (caught.value.status, caught.value.headers["retry-after"]) == (429, "10")


async def test_the_tokens_are_the_keys_that_asked(asker: Any) -> None:
    tenant = Tenant(project_id="proj_a", key_id="key_a")
    asker.speaker.context = asker.speaker.context.for_tenant(tenant)
    queued = await asker.ask(**FIELDS)
    asker.speaker.context = asker.speaker.context.for_tenant(Tenant())
    async with asker.storage.database.reading() as session:
        row = await session.get_one(ResponseRow, queued["id"])
    assert (row.project_id, row.key_id) == ("proj_a", "key_a")


def endpoint(project_id: str) -> WebhookEndpointRow:
    return WebhookEndpointRow(
        id=new_id("webhook"),
        project_id=project_id,
        created_at=1,
        url="https://example.com/hook",
        secret=b"s",
        event_types=[],
    )


@pytest.fixture
def with_tools(asker: Any, mcp_server: Any) -> dict[str, Any]:
    """A server with tools, and the request of a model that calls one of them, then ends."""
    settings = dataclasses.replace(
        asker.speaker.context.settings, allowed_mcp_domains=(mcp_server.host,)
    )
    asker.speaker.context = dataclasses.replace(asker.speaker.context, settings=settings)
    generate = asker.speaker.engine.generate
    tokenizer = asker.speaker.context.tokenizer

    async def in_turns(request: Any) -> AsyncGenerator[Any, None]:
        is_told = "<|tool|>" in tokenizer.decode(request.prompt_token_ids)
        asker.speaker.engine.texts = ("It is warm." if is_told else CALL,)
        async for deltas in generate(request):
            yield deltas

    asker.speaker.engine.generate = in_turns
    tool = {"type": "mcp", "server_label": "docs", "server_url": mcp_server.url}
    return {"background": True, "tools": [tool | {"require_approval": "never"}]}


async def test_tools_of_servers_are_called_in_the_background(
    asker: Any, mcp_server: Any, with_tools: dict[str, Any]
) -> None:
    response_id = (await asker.ask(**with_tools))["id"]
    async with working(asker):
        body = await until(asker, response_id, is_over)
    assert [item["type"] for item in body["output"]] == ["mcp_list_tools", "mcp_call", "message"]
    assert len(mcp_server.calls()) == 1
    events = await streamed(asker, response_id)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))


async def test_a_call_whose_worker_died_is_not_made_again(
    asker: Any, mcp_server: Any, with_tools: dict[str, Any]
) -> None:
    mcp_server.delay_s = 60.0
    response_id = (await asker.ask(**with_tools))["id"]
    async with working(asker), asyncio.timeout(10):
        while not mcp_server.calls():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    num_asked = len(mcp_server.received)
    async with working(asker):
        body = await until(asker, response_id, is_over)
    assert body["status"] == "completed"
    listed, called, _ = body["output"]
    assert len(listed["tools"]) == 3
    assert (called["status"], len(mcp_server.calls())) == ("failed", 1)
    assert "second time" in called["error"]["message"]
    assert len(mcp_server.received) <= num_asked + 1
    events = await streamed(asker, response_id)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
