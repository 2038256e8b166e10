from __future__ import annotations

import asyncio
import time

import pytest
from sqlalchemy import text

from api import access_life
from api.services.access.keys import NewKey, create_key, revoke_key
from api.settings import ServerSettings
from api.storage.store import open_storage

WHO = "/t/things/x"


@pytest.fixture
async def world(make_world, storage_settings):
    world = make_world(
        data_dir=storage_settings.data_dir, database_url=storage_settings.database_url
    )
    storage = await open_storage(storage_settings)
    yield world, storage
    await storage.close()


async def status(world, key: str) -> int:
    headers = {"authorization": f"Bearer {key}"}
    return (await world.app.test_client().get(WHO, headers=headers)).status_code


async def until(world, key: str, wanted: int) -> float:
    start_s = time.monotonic()
    async with asyncio.timeout(10):
        while await status(world, key) != wanted:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    return time.monotonic() - start_s


async def test_keys_open_and_close_a_running_server_within_two_seconds(world):
    world, storage = world
    async with access_life.access_of(world.state):
        world.state.storage = storage
        await until(world, "anything", 200)
        row, key = await create_key(storage.database, NewKey())
        assert await until(world, "anything", 401) < 2
        assert await status(world, key) == 200
        await revoke_key(storage.database, row.id)
        assert await until(world, key, 401) < 2


async def test_until_the_database_is_read_only_static_keys_open(make_world, storage_settings):
    storage = await open_storage(storage_settings)
    _, key = await create_key(storage.database, NewKey())
    world = make_world(
        data_dir=storage_settings.data_dir,
        database_url=storage_settings.database_url,
        api_keys=("static",),
    )
    async with access_life.access_of(world.state):
        assert await status(world, key) == 503
        assert await status(world, "wrong") == 503
        assert await status(world, "static") == 200
        assert (await world.app.test_client().get("/health")).status_code == 200
        world.state.storage = storage
        await until(world, key, 200)
        assert await status(world, "wrong") == 401
    await storage.close()


async def test_a_server_without_a_database_is_open_at_once(make_world, tmp_path):
    world = make_world(data_dir=str(tmp_path / "new"))
    async with access_life.access_of(world.state):
        assert await status(world, "anything") == 200


async def test_a_database_without_keys_closes_nothing_for_a_moment(world):
    world, _ = world
    if not world.state.settings.database_url:
        async with access_life.access_of(world.state):
            assert await status(world, "anything") == 200


def test_a_database_that_cannot_be_read_may_have_keys(tmp_path):
    settings = ServerSettings(data_dir=str(tmp_path))
    assert not access_life.may_have_keys(settings)
    (tmp_path / "servax.db").write_bytes(b"this is no database" * 100)
    assert access_life.may_have_keys(settings)


async def test_keys_that_were_known_still_open_when_the_database_fails(world, monkeypatch):
    world, storage = world
    monkeypatch.setattr(access_life, "KEY_REFRESH_S", 0.01)
    _, key = await create_key(storage.database, NewKey())
    async with access_life.access_of(world.state):
        world.state.storage = storage
        await until(world, key, 200)
        async with storage.database.writing() as session:
            await session.execute(text("ALTER TABLE api_keys RENAME TO gone"))
        await asyncio.sleep(0.2)
        assert await status(world, key) == 200
        assert await status(world, "wrong") == 401
