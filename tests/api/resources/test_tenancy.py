"""What one project keeps, no other project's key reaches: over every route of a stored thing, in
every list and in every body that names one. A new one has to be made in `World.make` first."""

from __future__ import annotations

import dataclasses
import io
import json
import re
from typing import Any

import msgspec
import pytest
from quart.datastructures import FileStorage
from sqlalchemy import func, select

from api.app import create_app, state_of
from api.endpoints.table import ENDPOINTS
from api.keys.key_ring import KeyRing
from api.storage import metadata
from api.storage.base import Base, Owned
from api.storage.tables.keys import KeyRow
from api.storage.tables.webhooks import WebhookDeliveryRow, WebhookEndpointRow

KEYS = ("key-one", "key-two")
NOT_STORED = {"name"}
"""Parameters of paths that name no stored thing: models, files of the page of documentation."""

WITHOUT_ROUTES = {KeyRow, WebhookEndpointRow, WebhookDeliveryRow}
"""Tables that only operators reach, by `servax keys` and `servax webhooks`."""

USER = {"role": "user", "content": "hi"}
LINE = {
    "custom_id": "1", "method": "POST", "url": "/v1/chat/completions",
    "body": {"model": "test-model", "messages": [USER]},
}  # fmt: skip
BODIES: dict[str, Any] = {
    "POST /v1/chat/completions/{completion_id}": {"metadata": {}},
    "POST /v1/responses/{response_id}/tool_outputs": {
        "tool_outputs": [{"call_id": "call_1", "output": "x"}]
    },
    "POST /v1/conversations/{conversation_id}": {"metadata": {}},
    "POST /v1/conversations/{conversation_id}/items": {"items": [USER]},
    "POST /v1/uploads/{upload_id}/complete": {"part_ids": []},
}
"""Of routes that take one."""

STORED = [
    each for each in ENDPOINTS if (found := re.search(r"{(\w+)}", each.path))
    and found[1] not in NOT_STORED
]  # fmt: skip
ROUTES = sorted(f"{each.method} {each.path}" for each in STORED)
LISTS = sorted(
    {each.path for each in ENDPOINTS if each.method == "GET" and "{" not in each.path}
    & {each.path.partition("/{")[0] for each in STORED}
)  # fmt: skip


def form(data: bytes, name: str) -> dict[str, FileStorage]:
    return {name: FileStorage(io.BytesIO(data), filename="a.jsonl")}


@dataclasses.dataclass
class World:
    """One server, and what the first key made.

    Attributes:
        ids: by the names that routes have for them.
    """

    client: Any
    ids: dict[str, str] = dataclasses.field(default_factory=dict)

    async def ask(self, key: str, method: str, path: str, **options: Any) -> tuple[int, Any]:
        headers = {"authorization": f"Bearer {key}"}
        answer = await self.client.open(path, method=method, headers=headers, **options)
        data = await answer.get_data(as_text=False)
        is_json = answer.mimetype == "application/json"
        return answer.status_code, json.loads(data) if is_json else data

    async def new(self, path: str, **options: Any) -> str:
        status, body = await self.ask(KEYS[0], "POST", path, **options)
        assert status == 200, body
        return body["id"]

    async def make(self) -> None:
        """One of each stored thing."""
        chat = {"messages": [USER], "store": True, "metadata": {"a": "b"}}
        self.ids["completion_id"] = await self.new("/v1/chat/completions", json=chat)
        response = {"input": "hi", "background": True}
        self.ids["response_id"] = await self.new("/v1/responses", json=response)
        conversation = await self.new("/v1/conversations", json={"items": [USER]})
        self.ids["conversation_id"] = conversation
        items = await self.ask(KEYS[0], "GET", f"/v1/conversations/{conversation}/items")
        self.ids["item_id"] = items[1]["data"][0]["id"]
        data = json.dumps(LINE).encode()
        self.ids["file_id"] = await self.new(
            "/v1/files", form={"purpose": "batch"}, files=form(data, "file")
        )
        upload = {"filename": "f", "purpose": "user_data", "bytes": 1, "mime_type": "text/plain"}
        self.ids["upload_id"] = await self.new("/v1/uploads", json=upload)
        parts = f"/v1/uploads/{self.ids['upload_id']}/parts"
        self.ids["part_id"] = await self.new(parts, files=form(b"x", "data"))
        batch = {
            "input_file_id": self.ids["file_id"],
            "endpoint": LINE["url"],
            "completion_window": "24h",
        }
        self.ids["batch_id"] = await self.new("/v1/batches", json=batch)

    async def call(self, key: str, route: str, ids: dict[str, str]) -> tuple[int, Any]:
        """A route of the table, with these ids in its path."""
        method, _, path = route.partition(" ")
        options: dict[str, Any] = {}
        if route.endswith("/parts"):
            options["files"] = form(b"x", "data")
        elif route in BODIES:
            options["json"] = BODIES[route]
        return await self.ask(key, method, path.format(**ids), **options)


@pytest.fixture
async def world(services_world: Any, storage: Any) -> World:
    speaker = services_world.make_speaker("hello world")
    speaker.engine.info = msgspec.structs.replace(speaker.engine.info, max_model_len=1024)
    state = state_of(speaker.context)
    state.keys = KeyRing(KEYS)
    state.storage = storage
    made = World(create_app(state).test_client())
    await made.make()
    return made


async def test_everything_that_is_stored_is_made_here(world, storage):
    assert metadata
    named = {name for each in STORED for name in re.findall(r"{(\w+)}", each.path)}
    assert named == set(world.ids) - {"part_id"}
    assert set(BODIES) <= set(ROUTES)
    tables = {each.class_ for each in Base.registry.mappers if issubclass(each.class_, Owned)}
    async with storage.database.reading() as session:
        for table in tables - WITHOUT_ROUTES:
            assert await session.scalar(select(func.count()).select_from(table)), table


async def test_every_route_of_a_stored_thing_is_404_for_another_projects_key(world):
    strange = {name: f"{value[:-4]}0000" for name, value in world.ids.items()}
    for route in ROUTES:
        status, body = await world.call(KEYS[1], route, world.ids)
        assert (status, body["error"]["code"]) == (404, "not_found"), route
        nothing = await world.call(KEYS[1], route, strange)
        shown = json.dumps(body["error"])
        for name, value in world.ids.items():
            shown = shown.replace(value, strange[name])
        assert (404, json.loads(shown)) == (nothing[0], nothing[1]["error"]), route
    for route in sorted(ROUTES, key=lambda route: (route.startswith("DELETE"), -len(route))):
        status, body = await world.call(KEYS[0], route, world.ids)
        # an item goes before its conversation
        assert status in {200, 400, 409}, (route, body)


@pytest.mark.parametrize("path", LISTS)
async def test_no_list_shows_what_another_project_has(world, path):
    status, body = await world.ask(KEYS[1], "GET", path)
    assert (status, body["data"]) == (200, [])
    assert (await world.ask(KEYS[0], "GET", path))[1]["data"]


async def test_no_body_reaches_what_another_project_has(world):
    ids = world.ids
    batch = {
        "input_file_id": ids["file_id"], "endpoint": LINE["url"], "completion_window": "24h",
    }  # fmt: skip
    reference = {"type": "item_reference", "id": ids["item_id"]}
    bodies = [
        ("/v1/batches", batch, "input_file_id"),
        ("/v1/responses", {"input": "hi", "previous_response_id": ids["response_id"]}, None),
        ("/v1/responses", {"input": "hi", "conversation": ids["conversation_id"]}, None),
        ("/v1/responses", {"input": [reference]}, None),
        ("/v1/conversations", {"items": [reference]}, None),
    ]
    for path, body, param in bodies:
        status, answer = await world.ask(KEYS[1], "POST", path, json=body)
        assert status in {400, 404}, (path, answer)
        assert param is None or answer["error"]["param"] == param
    upload = {"filename": "f", "purpose": "user_data", "bytes": 1, "mime_type": "text/plain"}
    _, own = await world.ask(KEYS[1], "POST", "/v1/uploads", json=upload)
    complete = f"/v1/uploads/{own['id']}/complete"
    status, _ = await world.ask(KEYS[1], "POST", complete, json={"part_ids": [ids["part_id"]]})
    assert status == 400
