"""Responses that are kept: retrieved, streamed again, built on, listed, deleted."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import func, select

from api.errors import APIError
from api.keys.tenant import Tenant
from api.protocol.responses.queries import ItemsQuery, RetrieveQuery
from api.services.responses.stored import retrieval
from api.storage.errors import StorageError
from api.storage.tables.responses import EventsRow, ItemRow, ResponseRow
from engine.errors import InvalidParameterError

CALL = '<tool_call>\n{"name": "look", "arguments": {"city": "Rome"}}\n</tool_call>'
EVERYTHING = f"<think>\nHm.\n</think>\n\nLet me look.\n{CALL}"
LOOK = {"type": "function", "name": "look", "parameters": {"type": "object"}}
STREAM = RetrieveQuery(stream=True)


@pytest.fixture
def keeping(asking: Any, storage: Any) -> Any:
    """Makes an `Asker` whose responses are kept."""

    def make(*texts: str, **options: Any) -> Any:
        asker = asking(*texts, **options)
        asker.storage, asker.store = storage, True
        return asker

    return make


async def again(asker: Any, response_id: str, query: RetrieveQuery = STREAM) -> bytes:
    events = await retrieval.stream_again(asker.exchange, response_id, query)
    return b"".join([event async for event in events])


async def retrieved(asker: Any, response_id: str) -> dict[str, Any]:
    return await retrieval.retrieve(asker.exchange, response_id, RetrieveQuery())


async def count(storage: Any, table: Any) -> int:
    async with storage.database.reading() as session:
        return int(await session.scalar(select(func.count()).select_from(table)))


def other(asker: Any) -> Any:
    """The same server, asked by somebody else."""
    from copy import copy

    stranger, speaker = copy(asker), copy(asker.speaker)
    speaker.context = speaker.context.for_tenant(Tenant(project_id="proj_other"))
    stranger.speaker = speaker
    return stranger


async def test_a_response_is_found_as_it_was_answered(keeping: Any) -> None:
    asker = keeping(EVERYTHING)
    made = await asker.ask(tools=[LOOK])
    assert await retrieved(asker, made["id"]) == made


async def test_what_is_not_to_be_kept_is_not(keeping: Any, storage: Any) -> None:
    asker = keeping(EVERYTHING)
    made = await asker.ask(store=False)
    with pytest.raises(APIError) as caught:
        await retrieved(asker, made["id"])
    assert caught.value.status == 404
    assert await count(storage, ItemRow) == 0


async def test_a_stream_is_read_again_byte_for_byte_from_any_number(keeping: Any) -> None:
    asker = keeping(EVERYTHING)
    answer = await asker.answer({"input": "hi", "stream": True, "tools": [LOOK]})
    sent = b"".join([event async for event in answer.events])
    lines = sent.split(b"\n\n")
    response_id = lines[0].split(b'"id":"')[1].partition(b'"')[0].decode()
    assert await again(asker, response_id) == sent
    for number in (0, 7, len(lines) - 4, len(lines) - 3, 10_000):
        query = RetrieveQuery(stream=True, starting_after=number)
        assert await again(asker, response_id, query) == b"\n\n".join(
            lines[number + 1 :] or []
        ) or (number >= len(lines) - 3)
        assert (await again(asker, response_id, query)).endswith(b"data: [DONE]\n\n")


async def test_a_response_that_was_not_streamed_cannot_be(keeping: Any) -> None:
    asker = keeping("hello")
    made = await asker.ask()
    with pytest.raises(InvalidParameterError) as caught:
        await again(asker, made["id"])
    assert caught.value.param == "stream"
    query = RetrieveQuery(starting_after=1)
    with pytest.raises(InvalidParameterError):
        await retrieval.retrieve(asker.exchange, made["id"], query)


async def test_a_stream_that_was_left_is_cancelled_and_says_so(keeping: Any) -> None:
    asker = keeping("hello world")
    answer = await asker.answer({"input": "hi", "stream": True})
    first = await anext(answer.events)
    await answer.events.aclose()
    response_id = first.split(b'"id":"')[1].partition(b'"')[0].decode()
    assert (await retrieved(asker, response_id))["status"] == "cancelled"
    assert (await again(asker, response_id)).startswith(first)
    assert b"event: response.incomplete" in await again(asker, response_id)


async def test_a_loop_with_tools_has_one_prompt_however_it_is_told(
    keeping: Any, conversation: Any
) -> None:
    """By `previous_response_id`, by `conversation`, by all items: the same token ids.

    Ids of calls are in the prompts. They follow from the ids of responses, which are chosen here:
    the same for each way, whose responses make room for those of the next.
    """
    prompts: dict[str, list[tuple[int, ...]]] = {}
    for way in ("previous", "conversation", "full"):
        asker = keeping(EVERYTHING)
        held = await conversation(asker) if way == "conversation" else None
        items: list[Any] = [{"role": "user", "content": "Where is it warm?"}]
        news, made = list(items), []
        for turn in range(4):
            fields: dict[str, Any] = {"tools": [LOOK], "instructions": "Be short."}
            if way == "previous" and made:
                fields["previous_response_id"] = made[-1]["id"]
            if way == "conversation":
                fields["conversation"] = held
            given = items if way == "full" else news
            last = await asker.ask(given, request_id=f"turn-{turn}", **fields)
            call = next(item for item in last["output"] if item["type"] == "function_call")
            news = [
                {"type": "function_call_output", "call_id": call["call_id"], "output": f"{turn} C"}
            ]
            items += [*last["output"], *news]
            made.append(last)
        prompts[way] = [request.prompt_token_ids for request in asker.speaker.engine.requests]
        assert call["call_id"] != made[0]["output"][-1]["call_id"]
        for each in reversed(made):
            await retrieval.delete_response(asker.exchange, each["id"])
    assert prompts["previous"] == prompts["conversation"] == prompts["full"]
    assert [len(each) for each in prompts["full"]] == sorted({len(p) for p in prompts["full"]})
    text = asker.speaker.context.tokenizer.decode(asker.prompt(), skip_special_tokens=False)
    assert all(each["output"][-1]["call_id"] in text for each in made[:-1])


async def test_what_a_response_was_made_of_is_listed_in_pages(keeping: Any) -> None:
    asker = keeping("hello")
    first = await asker.ask("one")
    second = await asker.ask("two", previous_response_id=first["id"])
    listing = await retrieval.list_input_items(
        asker.exchange, second["id"], ItemsQuery(order="asc")
    )
    assert [item["role"] for item in listing["data"]] == ["user", "assistant", "user"]
    assert [item["content"][0]["text"] for item in listing["data"]] == ["one", "hello", "two"]
    seen: list[str] = []
    after = None
    while True:
        query = ItemsQuery(limit=1, after=after)
        page = await retrieval.list_input_items(asker.exchange, second["id"], query)
        seen += [item["id"] for item in page["data"]]
        after = page["last_id"]
        if not page["has_more"]:
            break
    assert seen == [item["id"] for item in reversed(listing["data"])]


async def test_items_are_referred_to_by_their_ids(keeping: Any) -> None:
    asker = keeping("hello")
    first = await asker.ask("one")
    items = await retrieval.list_input_items(asker.exchange, first["id"], ItemsQuery())
    reference = {"type": "item_reference", "id": items["data"][0]["id"]}
    await asker.ask([reference])
    assert asker.prompt() == asker.prompt(0)
    with pytest.raises(APIError) as caught:
        await other(asker).ask([reference])
    assert (caught.value.status, caught.value.param) == (404, "input[0].id")


async def test_nobody_else_sees_a_response(keeping: Any) -> None:
    asker = keeping("hello")
    made = await asker.ask()
    stranger = other(asker)
    for attempt in (
        retrieved(stranger, made["id"]),
        again(stranger, made["id"]),
        retrieval.delete_response(stranger.exchange, made["id"]),
        retrieval.list_input_items(stranger.exchange, made["id"], ItemsQuery()),
        stranger.ask(previous_response_id=made["id"]),
    ):
        with pytest.raises(APIError) as caught:
            await attempt
        assert caught.value.status == 404
    assert await retrieved(asker, made["id"]) == made


async def test_a_deleted_response_is_gone_but_not_for_what_was_built_on_it(
    keeping: Any, storage: Any
) -> None:
    asker = keeping("hello")
    first = await asker.ask("one")
    second = await asker.ask("two", previous_response_id=first["id"])
    before = asker.prompt()
    (item,) = (await retrieval.list_input_items(asker.exchange, first["id"], ItemsQuery()))["data"]
    deleted = await retrieval.delete_response(asker.exchange, first["id"])
    assert deleted == {"id": first["id"], "object": "response", "deleted": True}
    with pytest.raises(APIError):
        await retrieved(asker, first["id"])
    with pytest.raises(APIError):
        await asker.ask("x", previous_response_id=first["id"])
    with pytest.raises(APIError):
        await asker.ask([{"type": "item_reference", "id": item["id"]}])
    await asker.ask("three", previous_response_id=second["id"])
    assert asker.prompt()[: len(before) - 1] == before[:-1]
    third = asker.speaker.engine.requests
    assert len(third) == 3
    async with storage.database.reading() as session:
        rows = (await session.scalars(select(ResponseRow).order_by(ResponseRow.id))).all()
    for row in rows[1:]:
        await retrieval.delete_response(asker.exchange, row.id)
    assert [await count(storage, table) for table in (ResponseRow, ItemRow, EventsRow)] == [0, 0, 0]


async def test_an_id_that_a_client_chose_is_its_projects_alone(keeping: Any) -> None:
    asker = keeping("one")
    made: list[str] = []
    for project_id in ("proj_default", "proj_a", "proj_b"):
        tenant = Tenant(project_id=project_id)
        asker.speaker.context = asker.speaker.context.for_tenant(tenant)
        body = await asker.ask(request_id="mine")
        shown = await retrieval.retrieve(asker.exchange, "resp_mine", RetrieveQuery())
        assert shown["id"] == body["id"]
        later = await asker.ask(previous_response_id="resp_mine")
        assert later["previous_response_id"] == "resp_mine"
        with pytest.raises(APIError) as caught:
            await asker.ask(request_id="mine")
        assert caught.value.status == 409
        made.append(body["id"])
    assert made[0] == "resp_mine"
    assert len(set(made)) == 3
    with pytest.raises(APIError) as caught:
        await retrieval.retrieve(asker.exchange, made[1], RetrieveQuery())
    assert caught.value.status == 404
    gone = await retrieval.delete_response(asker.exchange, "resp_mine")
    assert gone["id"] == made[2]


async def test_an_id_is_taken_once(keeping: Any) -> None:
    asker = keeping("hello")
    made = await asker.ask(request_id="mine")
    assert made["id"] == "resp_mine"
    with pytest.raises(APIError) as caught:
        await asker.ask(request_id="mine")
    assert (caught.value.status, caught.value.param) == (409, "request_id")
    with pytest.raises(APIError):
        await asker.stream(request_id="mine")


async def test_without_storage_only_what_is_not_kept_is_answered(keeping: Any) -> None:
    asker = keeping("hello")
    asker.storage = None
    with pytest.raises(StorageError):
        await asker.ask()
    assert asker.speaker.engine.requests == []
    assert (await asker.ask(store=False))["status"] == "completed"


async def test_what_could_not_be_written_down_is_not_told_as_done(
    keeping: Any, monkeypatch: Any
) -> None:
    asker = keeping("hello")
    from api.services.responses.stored.recorder import Recorder

    async def fail(*_: Any) -> None:
        raise StorageError

    monkeypatch.setattr(Recorder, "finish", fail)
    events = await asker.stream()
    assert [event["type"] for event in events[-2:]] == ["error", "response.failed"]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert events[-2]["code"] == "storage_unavailable"
    assert events[-1]["response"]["error"] == {
        "code": "server_error",
        "message": "The server's storage is not available now.",
    }
    with pytest.raises(StorageError):
        await asker.ask()


async def test_a_response_is_built_on_only_when_it_is_finished(keeping: Any) -> None:
    asker = keeping("hello world")
    answer: Any = await asker.answer({"input": "hi", "stream": True})
    first = await anext(answer.events)
    response_id = first.split(b'"id":"')[1].partition(b'"')[0].decode()
    with pytest.raises(InvalidParameterError) as caught:
        await asker.ask("x", previous_response_id=response_id)
    assert caught.value.param == "previous_response_id"
    await answer.events.aclose()


async def test_both_kinds_of_history_at_once_are_refused(keeping: Any) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        await keeping("hello").ask(previous_response_id="resp_a", conversation="conv_a")
    assert caught.value.param == "conversation"


async def test_a_hundred_at_once_are_all_kept(keeping: Any, storage: Any) -> None:
    asker = keeping("hello")
    made = await asyncio.gather(*(asker.ask(f"hi {index}") for index in range(100)))
    assert await count(storage, ResponseRow) == 100
    for response in made[::10]:
        assert await retrieved(asker, response["id"]) == response
