"""What a stored response was made of stays as it was, whatever is deleted meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy import func, select

from api.errors import APIError
from api.protocol.responses.queries import IncludeQuery, ItemsQuery
from api.services.responses.conversation import conversations
from api.services.responses.stored import retrieval
from api.storage.tables.responses import ConversationRow, ItemRow, RemovedItemRow, ResponseRow
from tests.api.services.responses.stored.background_world import is_over, until, working

UP = ItemsQuery(order="asc", limit=100)
TALK = [
    {"id": "msg_bob", "role": "user", "content": "My name is Bob"},
    {"id": "msg_hello", "role": "assistant", "content": "Hello Bob"},
]
Deletion = Callable[[Any, str], Awaitable[Any]]


async def whole(asker: Any, conversation_id: str) -> None:
    await conversations.remove(asker.exchange, conversation_id)


async def one_item(asker: Any, conversation_id: str) -> None:
    await conversations.remove_item(asker.exchange, conversation_id, "msg_bob")


async def both(asker: Any, conversation_id: str) -> None:
    await one_item(asker, conversation_id)
    await whole(asker, conversation_id)


deleting = pytest.mark.parametrize("delete", [whole, one_item, both])


@pytest.fixture
def asker(asking: Any, storage: Any) -> Any:
    made = asking("world")
    made.storage, made.store = storage, True
    return made


async def talk(asker: Any) -> str:
    return (await conversations.create(asker.exchange, {"items": TALK}))["id"]


async def input_of(asker: Any, response_id: str) -> list[dict[str, Any]]:
    return (await retrieval.list_input_items(asker.exchange, response_id, UP))["data"]


def texts(items: list[dict[str, Any]]) -> list[str]:
    return [item["content"][0]["text"] for item in items]


async def said_in(asker: Any, conversation_id: str) -> list[str]:
    return texts((await conversations.list_items(asker.exchange, conversation_id, UP))["data"])


def prompt(asker: Any) -> str:
    return asker.speaker.context.tokenizer.decode(asker.prompt())


async def prompt_after(asker: Any, response_id: str) -> str:
    await asker.ask("now", previous_response_id=response_id, store=False)
    return prompt(asker)


async def num_rows(storage: Any) -> list[int]:
    tables = (ConversationRow, ItemRow, RemovedItemRow, ResponseRow)
    async with storage.database.reading() as session:
        return [
            int(await session.scalar(select(func.count()).select_from(table)) or 0)
            for table in tables
        ]


@deleting
async def test_what_a_response_was_made_of_stays_when_it_leaves_its_conversation(
    asker: Any, delete: Deletion
) -> None:
    conversation_id = await talk(asker)
    first = await asker.ask("first", conversation=conversation_id)
    second = await asker.ask("second", previous_response_id=first["id"])
    made_of = [await input_of(asker, each["id"]) for each in (first, second)]
    continued = await prompt_after(asker, second["id"])
    assert texts(made_of[0]) == ["My name is Bob", "Hello Bob", "first"]
    await delete(asker, conversation_id)
    assert [await input_of(asker, each["id"]) for each in (first, second)] == made_of
    assert await prompt_after(asker, second["id"]) == continued


@deleting
async def test_a_background_response_is_made_though_what_it_is_made_of_was_deleted(
    asker: Any, delete: Deletion
) -> None:
    conversation_id = await talk(asker)
    await asker.ask("now", conversation=await talk(asker))
    same = prompt(asker)
    queued = await asker.ask("now", conversation=conversation_id, background=True)
    await delete(asker, conversation_id)
    async with working(asker):
        body = await until(asker, queued["id"], is_over)
    assert (body["status"], body["error"]) == ("completed", None)
    assert prompt(asker) == same


async def test_a_removed_item_is_in_nothing_of_its_conversation(asker: Any) -> None:
    exchange = asker.exchange
    conversation_id = await talk(asker)
    await asker.ask("first", conversation=conversation_id)
    await one_item(asker, conversation_id)
    assert await said_in(asker, conversation_id) == ["Hello Bob", "first", "world"]
    second = await asker.ask("second", conversation=conversation_id)
    assert "My name is Bob" not in prompt(asker)
    assert texts(await input_of(asker, second["id"])) == ["Hello Bob", "first", "world", "second"]
    for attempt in (
        conversations.retrieve_item(exchange, conversation_id, "msg_bob", IncludeQuery()),
        conversations.remove_item(exchange, conversation_id, "msg_bob"),
        asker.ask([{"type": "item_reference", "id": "msg_bob"}]),
    ):
        with pytest.raises(APIError) as caught:
            await attempt
        assert caught.value.status == 404


async def test_who_removes_kept_items_page_by_page_meets_every_one(asker: Any) -> None:
    exchange = asker.exchange
    conversation_id = await talk(asker)
    await asker.ask("first", conversation=conversation_id)
    await asker.ask("second", conversation=conversation_id)
    seen, after = [], None
    while True:
        query = ItemsQuery(order="asc", limit=2, after=after)
        page = await conversations.list_items(exchange, conversation_id, query)
        seen += texts(page["data"])
        for item in page["data"]:
            await conversations.remove_item(exchange, conversation_id, item["id"])
        if not page["has_more"]:
            break
        after = page["last_id"]
    assert seen == ["My name is Bob", "Hello Bob", "first", "world", "second", "world"]


async def test_the_id_of_a_kept_item_can_be_used_again(asker: Any) -> None:
    exchange = asker.exchange
    conversation_id = await talk(asker)
    first = await asker.ask("first", conversation=conversation_id)
    await one_item(asker, conversation_id)
    again = {"items": [TALK[0] | {"content": "My name is Eve"}]}
    await conversations.add_items(exchange, conversation_id, again, IncludeQuery())
    item = await conversations.retrieve_item(exchange, conversation_id, "msg_bob", IncludeQuery())
    second = await asker.ask("second", conversation=conversation_id)
    assert texts([item]) == ["My name is Eve"]
    assert texts(await input_of(asker, first["id"]))[0] == "My name is Bob"
    assert "My name is Bob" not in texts(await input_of(asker, second["id"]))
    await one_item(asker, conversation_id)
    assert "My name is Eve" in texts(await input_of(asker, second["id"]))
    assert "My name is Eve" not in await said_in(asker, conversation_id)


@pytest.mark.parametrize("order", [1, -1])
async def test_kept_items_go_with_the_last_response_that_needs_them(
    asker: Any, storage: Any, order: int
) -> None:
    conversation_id = await talk(asker)
    first = await asker.ask("first", conversation=conversation_id)
    second = await asker.ask("second", previous_response_id=first["id"])
    third = await asker.ask("third", conversation=conversation_id)
    await both(asker, conversation_id)
    made = [first["id"], second["id"], third["id"]][::order]
    for response_id in made[:-1]:
        await retrieval.delete_response(asker.exchange, response_id)
    assert len(await input_of(asker, made[-1])) >= 3
    await retrieval.delete_response(asker.exchange, made[-1])
    assert await num_rows(storage) == [0, 0, 0, 0]


async def test_an_item_that_no_response_needs_goes_at_once(asker: Any, storage: Any) -> None:
    conversation_id = await talk(asker)
    await asker.ask("first", conversation=conversation_id)
    before = await num_rows(storage)
    later = (await conversations.list_items(asker.exchange, conversation_id, UP))["last_id"]
    await conversations.remove_item(asker.exchange, conversation_id, later)
    assert (await num_rows(storage))[1] == before[1] - 1


async def test_responses_that_are_deleted_at_once_leave_nothing(asker: Any, storage: Any) -> None:
    conversation_id = await talk(asker)
    made = [await asker.ask("x", conversation=conversation_id) for _ in range(4)]
    made += [await asker.ask("y", previous_response_id=made[-1]["id"]) for _ in range(4)]
    await whole(asker, conversation_id)
    await asyncio.gather(*(retrieval.delete_response(asker.exchange, each["id"]) for each in made))
    assert await num_rows(storage) == [0, 0, 0, 0]


@pytest.fixture
def paused(asker: Any) -> Any:
    """Starts a response that goes on when it is told to; gives its task."""
    engine = asker.speaker.engine
    generate, begun, may_end = engine.generate, asyncio.Event(), asyncio.Event()

    async def held(request: Any) -> AsyncGenerator[Any, None]:
        stream = generate(request)
        try:
            async for deltas in stream:
                begun.set()
                await may_end.wait()
                yield deltas
        finally:
            await stream.aclose()

    async def start(**fields: Any) -> Callable[[], Awaitable[dict[str, Any]]]:
        engine.generate = held
        task = asyncio.create_task(asker.ask("meanwhile", **fields))
        await begun.wait()

        async def end() -> dict[str, Any]:
            may_end.set()
            engine.generate = generate
            return await task

        return end

    return start


@deleting
async def test_what_leaves_a_conversation_while_a_response_is_made_of_it_is_kept(
    asker: Any, storage: Any, paused: Any, delete: Deletion
) -> None:
    conversation_id = await talk(asker)
    end = await paused(conversation=conversation_id)
    await delete(asker, conversation_id)
    made = await end()
    assert made["conversation"] == {"id": conversation_id}
    assert texts(await input_of(asker, made["id"])) == ["My name is Bob", "Hello Bob", "meanwhile"]
    assert "My name is Bob" in await prompt_after(asker, made["id"])
    with pytest.raises(APIError) as caught:
        await asker.ask([{"type": "item_reference", "id": "msg_bob"}])
    assert caught.value.status == 404
    if delete is one_item:
        assert await said_in(asker, conversation_id) == ["Hello Bob", "meanwhile", "world"]
        await whole(asker, conversation_id)
    await retrieval.delete_response(asker.exchange, made["id"])
    assert await num_rows(storage) == [0, 0, 0, 0]


async def test_a_response_that_is_deleted_while_another_is_built_on_it_is_kept_for_that(
    asker: Any, storage: Any, paused: Any
) -> None:
    conversation_id = await talk(asker)
    first = await asker.ask("first", conversation=conversation_id)
    second = await asker.ask("second", previous_response_id=first["id"])
    end = await paused(previous_response_id=second["id"])
    await whole(asker, conversation_id)
    for each in (first, second):
        await retrieval.delete_response(asker.exchange, each["id"])
    made = await end()
    assert made["previous_response_id"] == second["id"]
    assert texts(await input_of(asker, made["id"])) == [
        "My name is Bob", "Hello Bob", "first", "world", "second", "world", "meanwhile",
    ]  # fmt: skip
    await retrieval.delete_response(asker.exchange, made["id"])
    assert await num_rows(storage) == [0, 0, 0, 0]


async def test_what_is_added_while_a_response_is_made_is_not_what_it_was_made_of(
    asker: Any, paused: Any
) -> None:
    conversation_id = await talk(asker)
    end = await paused(conversation=conversation_id)
    more = {"items": [{"role": "user", "content": "more"}]}
    await conversations.add_items(asker.exchange, conversation_id, more, IncludeQuery())
    await one_item(asker, conversation_id)
    made = await end()
    assert texts(await input_of(asker, made["id"])) == ["My name is Bob", "Hello Bob", "meanwhile"]
    assert await said_in(asker, conversation_id) == ["Hello Bob", "more", "meanwhile", "world"]


async def test_responses_are_made_of_what_they_say_though_items_go_at_the_same_time(
    asker: Any, storage: Any
) -> None:
    exchange = asker.exchange
    items = [{"id": f"msg_{i}", "role": "user", "content": f"old-{i}."} for i in range(8)]
    conversation_id = (await conversations.create(exchange, {"items": items}))["id"]
    asks = [asker.ask(f"ask-{i}.", conversation=conversation_id) for i in range(8)]
    removals = [conversations.remove_item(exchange, conversation_id, item["id"]) for item in items]
    mixed = [each for pair in zip(asks, removals, strict=True) for each in pair]
    made = (await asyncio.gather(*mixed))[::2]
    await whole(asker, conversation_id)
    decode = asker.speaker.context.tokenizer.decode
    prompts = [
        decode(request.prompt_token_ids, skip_special_tokens=False).replace("None", "")
        for request in asker.speaker.engine.requests
    ]
    said = [
        "".join(f"<|{item['role']}|>{item['content'][0]['text']}" for item in listed)
        for listed in [await input_of(asker, each["id"]) for each in made]
    ]
    assert sorted(prompts) == sorted(f"{text}<|assistant|>" for text in said)
    await asyncio.gather(*(retrieval.delete_response(exchange, each["id"]) for each in made))
    assert await num_rows(storage) == [0, 0, 0, 0]
