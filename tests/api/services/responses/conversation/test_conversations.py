"""Conversations and their items; responses that are part of one."""

from __future__ import annotations

from copy import copy
from typing import Any

import pytest

from api.errors import APIError
from api.keys.tenant import Tenant
from api.protocol.responses.queries import IncludeQuery, ItemsQuery
from api.services.responses.conversation import conversations
from engine.errors import InvalidParameterError

UP = ItemsQuery(order="asc")
HELLO = {"type": "message", "role": "user", "content": "hello"}


@pytest.fixture
def asker(asking: Any, storage: Any) -> Any:
    made = asking("world")
    made.storage, made.store = storage, True
    return made


async def texts(asker: Any, conversation_id: str) -> list[str]:
    listing = await conversations.list_items(asker.exchange, conversation_id, UP)
    return [item["content"][0]["text"] for item in listing["data"]]


async def test_a_conversation_is_made_shown_changed_and_deleted(asker: Any) -> None:
    exchange = asker.exchange
    made = await conversations.create(exchange, {"metadata": {"a": "1"}, "items": [HELLO]})
    assert (made["object"], made["metadata"]) == ("conversation", {"a": "1"})
    assert made["id"].startswith("conv_")
    changed = await conversations.update(exchange, made["id"], {"metadata": {"b": "2"}})
    assert changed == await conversations.retrieve(exchange, made["id"])
    assert changed["metadata"] == {"b": "2"}
    deleted = await conversations.remove(exchange, made["id"])
    assert deleted == {"id": made["id"], "object": "conversation.deleted", "deleted": True}
    with pytest.raises(APIError) as caught:
        await conversations.retrieve(exchange, made["id"])
    assert caught.value.status == 404


SEALED = [
    {"type": "compaction", "encrypted_content": "garbage"},
    {"type": "compaction", "encrypted_content": ""},
    {"type": "reasoning", "summary": [], "encrypted_content": "garbage"},
]


@pytest.mark.parametrize("item", SEALED, ids=str)
async def test_an_item_that_no_response_could_read_is_refused_at_once(
    asker: Any, item: dict[str, Any]
) -> None:
    exchange = asker.exchange
    conversation_id = (await conversations.create(exchange, {}))["id"]
    body = {"items": [HELLO, item]}
    for adding in (
        conversations.create(exchange, body),
        conversations.add_items(exchange, conversation_id, body, IncludeQuery()),
    ):
        with pytest.raises(InvalidParameterError) as caught:
            await adding
        assert caught.value.param == "items[1].encrypted_content"
    assert await texts(asker, conversation_id) == []


async def test_items_are_added_shown_and_deleted(asker: Any) -> None:
    exchange = asker.exchange
    conversation_id = (await conversations.create(exchange, {}))["id"]
    body = {"items": [HELLO, {"role": "assistant", "content": "hm"}]}
    added = await conversations.add_items(exchange, conversation_id, body, IncludeQuery())
    first, second = added["data"]
    assert (first["content"], first["status"]) == (
        [{"type": "input_text", "text": "hello"}], "completed",
    )  # fmt: skip
    assert second["content"][0]["type"] == "output_text"
    shown = await conversations.retrieve_item(
        exchange, conversation_id, second["id"], IncludeQuery()
    )
    assert shown == second
    await conversations.remove_item(exchange, conversation_id, first["id"])
    assert await texts(asker, conversation_id) == ["hm"]
    with pytest.raises(APIError) as caught:
        await conversations.remove_item(exchange, conversation_id, first["id"])
    assert caught.value.status == 404


async def test_a_response_builds_on_its_conversation_and_becomes_part_of_it(asker: Any) -> None:
    conversation_id = (await conversations.create(asker.exchange, {"items": [HELLO]}))["id"]
    made = await asker.ask("one", conversation=conversation_id)
    assert made["conversation"] == {"id": conversation_id}
    await asker.stream("two", conversation={"id": conversation_id})
    assert await texts(asker, conversation_id) == ["hello", "one", "world", "two", "world"]
    text = asker.speaker.context.tokenizer.decode(asker.prompt(), skip_special_tokens=False)
    said = "<|user|>hello<|user|>one<|assistant|>world<|user|>two<|assistant|>"
    assert text.replace("None", "") == said


async def test_a_failed_response_adds_nothing(asker: Any) -> None:
    conversation_id = (await conversations.create(asker.exchange, {}))["id"]
    asker.speaker.engine.failure = RuntimeError("x")
    asker.speaker.engine.failure_after = 1
    await asker.stream("one", conversation=conversation_id)
    assert await texts(asker, conversation_id) == []


async def test_a_later_response_keeps_the_conversation_as_it_was(asker: Any) -> None:
    conversation_id = (await conversations.create(asker.exchange, {"items": [HELLO]}))["id"]
    first = await asker.ask("one", conversation=conversation_id)
    await asker.ask("two", conversation=conversation_id)
    await asker.ask("three", previous_response_id=first["id"])
    text = asker.speaker.context.tokenizer.decode(asker.prompt())
    assert "hello" in text
    assert "one" in text
    assert "two" not in text


async def test_an_item_keeps_its_id_unless_the_conversation_has_it(asker: Any) -> None:
    exchange = asker.exchange
    conversation_id = (await conversations.create(exchange, {}))["id"]
    named = {"items": [HELLO | {"id": "msg_1"}, HELLO | {"id": "msg_1"}]}
    added = await conversations.add_items(exchange, conversation_id, named, IncludeQuery())
    again = await conversations.add_items(exchange, conversation_id, named, IncludeQuery())
    given = [item["id"] for item in added["data"] + again["data"]]
    assert given[0] == "msg_1"
    assert len(set(given)) == 4


async def test_nobody_else_sees_a_conversation(asker: Any) -> None:
    conversation_id = (await conversations.create(asker.exchange, {"items": [HELLO]}))["id"]
    items = await conversations.list_items(asker.exchange, conversation_id, UP)
    item_id = items["data"][0]["id"]
    stranger, speaker = copy(asker), copy(asker.speaker)
    speaker.context = speaker.context.for_tenant(Tenant(project_id="proj_other"))
    stranger.speaker = speaker
    exchange = stranger.exchange
    for attempt in (
        conversations.retrieve(exchange, conversation_id),
        conversations.update(exchange, conversation_id, {"metadata": {}}),
        conversations.remove(exchange, conversation_id),
        conversations.list_items(exchange, conversation_id, UP),
        conversations.add_items(exchange, conversation_id, {"items": [HELLO]}, IncludeQuery()),
        conversations.retrieve_item(exchange, conversation_id, item_id, IncludeQuery()),
        conversations.remove_item(exchange, conversation_id, item_id),
        stranger.ask("x", conversation=conversation_id),
    ):
        with pytest.raises(APIError) as caught:
            await attempt
        assert caught.value.status == 404
    assert await texts(asker, conversation_id) == ["hello"]


@pytest.mark.parametrize("order", ["asc", "desc"])
async def test_who_removes_what_each_page_shows_meets_every_item(asker: Any, order: Any) -> None:
    exchange = asker.exchange
    items = [{**HELLO, "id": f"msg_{index}"} for index in range(7)]
    conversation_id = (await conversations.create(exchange, {"items": items}))["id"]
    await conversations.remove_item(exchange, conversation_id, "msg_3")
    seen, after = [], None
    while True:
        query = ItemsQuery(order=order, limit=2, after=after)
        page = await conversations.list_items(exchange, conversation_id, query)
        for item in page["data"]:
            seen.append(item["id"])
            await conversations.remove_item(exchange, conversation_id, item["id"])
        if not page["has_more"]:
            break
        after = page["last_id"]
    there = [f"msg_{index}" for index in range(7) if index != 3]
    assert seen == (there if order == "asc" else there[::-1])


async def test_a_removed_item_is_a_cursor_until_another_has_its_id(asker: Any) -> None:
    exchange = asker.exchange
    items = [{**HELLO, "id": f"msg_{index}"} for index in range(4)]
    conversation_id = (await conversations.create(exchange, {"items": items}))["id"]
    await conversations.remove_item(exchange, conversation_id, "msg_1")

    async def page(**query: Any) -> list[str]:
        found = await conversations.list_items(
            exchange, conversation_id, ItemsQuery(order="asc", **query)
        )
        return [item["id"] for item in found["data"]]

    assert await page(after="msg_1") == ["msg_2", "msg_3"]
    assert await page(before="msg_1") == ["msg_0"]
    again = {"items": [{**HELLO, "id": "msg_1"}]}
    await conversations.add_items(exchange, conversation_id, again, IncludeQuery())
    assert await page(after="msg_1") == []
    with pytest.raises(APIError) as caught:
        await page(after="msg_9")
    assert (caught.value.status, caught.value.param) == (400, "after")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"items": [HELLO] * 21}, "items"),
        ({"items": [{**HELLO, "id": "a\0b"}]}, "items[0].id"),
        ({"items": [{"type": "item_reference", "id": "a\0b"}]}, "items[0].id"),
        (
            {
                "items": [
                    {
                        "type": "mcp_approval_response",
                        "approval_request_id": "a\0b",
                        "approve": True,
                    }
                ]
            },
            "items[0].approval_request_id",
        ),
        ({"items": [{"type": "computer_call", "id": "x"}]}, "items[0].type"),
        ({"metadata": {str(index): "x" for index in range(17)}}, "metadata"),
        ({"metadata": {"a": 1}}, "metadata.a"),
    ],
)
async def test_bad_bodies_are_refused_by_name(asker: Any, body: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        await conversations.create(asker.exchange, body)
    assert caught.value.param == param


async def test_an_id_that_no_database_can_hold_is_no_item_s(asker: Any) -> None:
    conversation_id = (await conversations.create(asker.exchange, {"items": [HELLO]}))["id"]
    for attempt in (
        conversations.retrieve_item(asker.exchange, conversation_id, "a\0b", IncludeQuery()),
        conversations.remove_item(asker.exchange, conversation_id, "a\0b"),
        conversations.list_items(asker.exchange, conversation_id, ItemsQuery(after="a\0b")),
    ):
        with pytest.raises(APIError) as caught:
            await attempt
        assert caught.value.status in {400, 404}


async def test_a_conversation_that_is_not_there_is_named_by_its_field(
    asking: Any, storage: Any
) -> None:
    asker = asking("hello")
    asker.storage, asker.store = storage, True
    with pytest.raises(APIError) as caught:
        await asker.ask(conversation="conv_none")
    assert (caught.value.status, caught.value.param) == (404, "conversation")
