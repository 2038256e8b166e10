"""Background responses: made by workers, taken over, cancelled; streams read what was written."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from copy import copy
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock

import pytest
from sqlalchemy import select, update

from api.errors import APIError
from api.keys.accounts import UsageRecord
from api.keys.tenant import Tenant
from api.protocol.responses.queries import RetrieveQuery
from api.services.responses.stored import background, retrieval
from api.storage.errors import StorageError
from api.storage.ids import new_id
from api.storage.tables.responses import ResponseRow
from api.storage.tables.usage import UsageRow
from api.storage.tables.webhooks import WebhookDeliveryRow, WebhookEndpointRow
from api.workers import responses
from api.workers import runner as runners
from api.workers.responses import BackgroundResponses, LeftResponses
from engine.errors import EngineDiedError

CALL = '<tool_call>\n{"name": "look", "arguments": {"city": "Rome"}}\n</tool_call>'
EVERYTHING = f"<think>\nHm, Rome.\n</think>\n\nLet me look.\n{CALL}"
LOOK = {"type": "function", "name": "look", "parameters": {"type": "object"}}
FIELDS: dict[str, Any] = {"background": True, "tools": [LOOK]}


@pytest.fixture
def asker(asking: Any, storage: Any) -> Any:
    made = asking(EVERYTHING)
    made.storage, made.store = storage, True
    return made


@asynccontextmanager
async def working(asker: Any, **options: Any) -> AsyncGenerator[Any, None]:
    """One process's workers; at the end they hand over at once."""
    database = asker.storage.database
    kinds = [BackgroundResponses(asker.speaker.context, database), LeftResponses()]
    runner = runners.JobRunner(database, kinds, poll_s=0.02, **options)
    runner.start()
    try:
        yield runner
    finally:
        await runner.stop(0.0)


def slow(asker: Any, step_s: float = 0.01) -> None:
    generate = asker.speaker.engine.generate

    async def slowly(request: Any) -> AsyncGenerator[Any, None]:
        stream = generate(request)
        try:
            async for deltas in stream:
                await asyncio.sleep(step_s)
                yield deltas
        finally:
            await stream.aclose()

    asker.speaker.engine.generate = slowly


async def retrieved(asker: Any, response_id: str) -> dict[str, Any]:
    return await retrieval.retrieve(asker.exchange, response_id, RetrieveQuery())


async def until(asker: Any, response_id: str, is_so: Callable[[dict[str, Any]], bool]) -> Any:
    async with asyncio.timeout(10):
        while not is_so(body := await retrieved(asker, response_id)):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return body


async def until_closed(asker: Any) -> None:
    """Until the engine was told that nobody wants its answer."""
    async with asyncio.timeout(10):
        while not asker.speaker.engine.closed:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def is_over(body: dict[str, Any]) -> bool:
    return body["status"] not in {"queued", "in_progress"}


async def streamed(asker: Any, response_id: str, after: int | None = None) -> list[Any]:
    query = RetrieveQuery(stream=True, starting_after=after)
    async with asyncio.timeout(10):
        sent = [
            event
            async for event in await retrieval.stream_again(asker.exchange, response_id, query)
        ]
    lines = b"".join(sent).decode().removesuffix("\n\n").split("\n\n")
    assert lines[-1] == "data: [DONE]"
    return [json.loads(line.split("\ndata: ")[1]) for line in lines[:-1]]


def joined(events: list[Any]) -> dict[str, str]:
    texts: dict[str, str] = {}
    for event in events:
        if event["type"].endswith(".delta"):
            texts[event["type"]] = texts.get(event["type"], "") + event["delta"]
    return texts


def without_ids(output: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in item.items() if k not in {"id", "call_id"}} for item in output]


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


async def known(asker: Any, response_id: str) -> list[Any]:
    from api.storage.responses import events_after

    async with asker.storage.database.reading() as session:
        return await events_after(session, response_id, -1)


async def until_events(asker: Any, response_id: str, count: int) -> None:
    async with asyncio.timeout(10):
        while len(await known(asker, response_id)) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.002)


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
        queued["id"], "not_found")  # fmt: skip
    added = [e["item"]["id"] for e in events if e["type"] == "response.output_item.added"]
    done = [e["item"]["id"] for e in events if e["type"] == "response.output_item.done"]
    assert added == done == [item["id"] for item in last["response"]["output"]] != []


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
