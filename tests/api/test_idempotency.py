from __future__ import annotations

import asyncio
import re

import pytest
from sqlalchemy import func, select

from api import idempotency
from api.keys.key_ring import StoredKey, hash_key
from api.keys.tenant import Tenant
from api.services.access import idempotency as service
from api.storage.tables.idempotency import IdempotencyRow


class World:
    """A server with storage, and two tenants' keys."""

    def __init__(self, world, storage) -> None:
        self.app, self.engine, self.state = world.app, world.engine, world.state
        self.state.storage = self.storage = storage
        tenants = [Tenant(project_id=f"proj_{name}", key_id=name) for name in ("one", "two")]
        keys = [StoredKey(hash_key(tenant.key_id), tenant, None) for tenant in tenants]
        self.state.keys.replace(keys, has_any=True)

    async def post(self, path="/t/whole", key="k1", body=None, tenant="one"):
        headers = {"x-api-key": tenant} | ({} if key is None else {"idempotency-key": key})
        return await self.app.test_client().post(path, json=body or {"a": 1}, headers=headers)

    async def num_rows(self) -> int:
        async with self.storage.database.reading() as session:
            return await session.scalar(select(func.count(IdempotencyRow.id)))


@pytest.fixture
async def world(make_world, storage):
    return World(make_world(), storage)


async def error_of(answer):
    return answer.status_code, (await answer.get_json())["error"]["code"]


@pytest.mark.parametrize("path", ["/t/whole", "/t/stream"])
async def test_the_same_request_again_gets_the_same_bytes_and_no_work(world, path):
    first = await world.post(path)
    again = await world.post(path)
    assert first.status_code == again.status_code == 200
    assert await again.get_data() == await first.get_data()
    assert again.headers["content-type"] == first.headers["content-type"]
    assert again.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers
    assert len(world.engine.started) == 1


async def test_without_the_header_or_with_another_key_work_is_done_anew(world):
    for key in ("k1", "k2", None, None):
        assert (await world.post(key=key)).status_code == 200
    assert len(world.engine.started) == 4


async def test_another_request_under_the_key_is_refused(world):
    await world.post()
    assert await error_of(await world.post(body={"a": 2})) == (422, "idempotency_key_reused")
    assert await error_of(await world.post("/t/json")) == (422, "idempotency_key_reused")
    assert len(world.engine.started) == 1


async def test_the_same_body_with_another_dialect_is_another_request(world):
    client = world.app.test_client()

    async def post(dialect):
        headers = {"x-api-key": "one", "idempotency-key": "k1"}
        if dialect:
            headers["x-responses-event-dialect"] = dialect
        return await client.post("/t/stream", json={}, headers=headers)

    assert (await post("seed")).status_code == 200
    assert (await post("seed")).headers["idempotent-replayed"] == "true"
    for dialect in ("openresponses", ""):
        assert await error_of(await post(dialect)) == (422, "idempotency_key_reused")


async def test_a_key_is_the_projects_own(world):
    await world.post()
    other = await world.post(body={"a": 2}, tenant="two")
    assert other.status_code == 200
    assert len(world.engine.started) == 2


async def test_while_the_first_runs_the_second_is_told_to_wait(world):
    world.engine.step_s = 0.2
    first = asyncio.create_task(world.post())
    while not world.engine.started:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    second = await world.post()
    assert await error_of(second) == (409, "idempotency_key_in_use")
    assert second.headers["retry-after"] == "1"
    assert (await first).status_code == 200
    assert (await world.post()).headers["idempotent-replayed"] == "true"
    assert len(world.engine.started) == 1


async def test_what_failed_is_carried_out_again(world):
    world.engine.control_error = None
    bad = await world.post("/t/json", body=None)
    assert bad.status_code == 200
    client = world.app.test_client()
    headers = {"x-api-key": "one", "idempotency-key": "k9", "content-type": "application/json"}
    for _ in range(2):
        answer = await client.post("/t/json", data=b"{", headers=headers)
        assert answer.status_code == 400
        assert "idempotent-replayed" not in answer.headers
    good = await client.post("/t/json", data=b"{}", headers=headers)
    assert good.status_code == 200


async def test_an_answer_that_was_left_is_carried_out_again(world, net):
    world.engine.step_s = 5
    async with net.listening(world) as port:
        wire = await net.connect(port)
        lines = (b"x-api-key: one", b"idempotency-key: k1")
        await wire.send(net.post("/t/stream", b"{}", *lines))
        await net.until(lambda: bool(world.engine.started))
        wire.close()
        await net.until(lambda: bool(world.engine.aborted))
        await wire.writer.wait_closed()
        while await world.num_rows():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        world.engine.step_s = 0
        wire = await net.connect(port)
        await wire.send(net.post("/t/stream", b"{}", *lines, b"connection: close"))
        assert b" 200 " in (await wire.read_all()).splitlines()[0]
        wire.close()
        await wire.writer.wait_closed()
    assert len(world.engine.started) == 2


async def test_a_stream_that_ended_with_an_error_is_not_kept(world, monkeypatch):
    monkeypatch.setattr(idempotency, "FAILED", re.compile(b"data: 0"))
    await world.post("/t/stream")
    assert await world.num_rows() == 0


async def test_an_answer_too_large_to_keep_is_given_and_not_kept(world, monkeypatch):
    monkeypatch.setattr(service, "MAX_ANSWER_BYTES", 10)
    assert (await world.post()).status_code == 200
    assert await world.num_rows() == 0


async def test_a_process_that_died_holds_a_key_only_as_long_as_its_lease(storage):
    clock = [1000.0]

    async def claim():
        return await service.claim(storage.database, "p", "k", b"hash", lambda: clock[0])

    dead = await claim()
    await dead._end()
    with pytest.raises(Exception, match="still being answered"):
        await claim()
    clock[0] += service.LEASE_S + 1
    alive = await claim()
    answer = service.StoredAnswer(200, {}, b"answer")
    await dead.complete(service.StoredAnswer(200, {}, b"of the dead"))
    await alive.complete(answer)
    assert await claim() == answer


async def test_a_key_is_free_again_when_its_answer_has_expired(storage, world):
    await world.post()
    await service.delete_expired(storage.database, 0)
    assert await world.num_rows() == 1
    await service.delete_expired(storage.database, 2**40)
    assert await world.num_rows() == 0


@pytest.mark.parametrize("key", ["", " ", "a b", "ä", "x" * 256])
async def test_a_key_is_short_and_visible(world, key):
    answer = await world.post(key=key)
    assert answer.status_code == 400
    assert (await answer.get_json())["error"]["param"] == "Idempotency-Key"


async def test_uploads_refuse_it_by_name(world):
    headers = {
        "x-api-key": "one",
        "idempotency-key": "k",
        "content-type": "multipart/form-data; boundary=x",
    }
    answer = await world.app.test_client().post("/t/json", data=b"", headers=headers)
    assert answer.status_code == 400
    assert "uploads" in (await answer.get_json())["error"]["message"]


async def test_without_storage_the_header_cannot_be_honoured(world):
    world.state.storage = None
    assert (await world.post()).status_code == 503
    assert (await world.post(key=None)).status_code == 200
