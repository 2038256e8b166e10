from __future__ import annotations

import asyncio

import pytest

from api import storage_life
from api.app import make_state
from api.settings import ServerSettings
from engine.errors import SetupError


async def opened(state):
    async with asyncio.timeout(10):
        while state.storage is None:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return state.storage


async def test_storage_is_open_until_the_server_ends(tmp_path):
    state = make_state(ServerSettings(data_dir=str(tmp_path)), "m")
    async with storage_life.storage_of(state):
        await opened(state)
    assert state.storage is None
    assert (tmp_path / "servax.db").exists()


async def test_storage_that_cannot_be_opened_is_tried_again(tmp_path, monkeypatch):
    monkeypatch.setattr(storage_life, "RETRY_S", 0.01)
    in_the_way = tmp_path / "data"
    in_the_way.write_text("")
    state = make_state(ServerSettings(data_dir=str(in_the_way)), "m")
    async with storage_life.storage_of(state):
        await asyncio.sleep(0.1)
        assert state.storage is None
        in_the_way.unlink()
        await opened(state)


def test_a_url_that_can_never_work_ends_the_start():
    with pytest.raises(SetupError, match="--database-url"):
        storage_life.verify_storage(ServerSettings(database_url="mysql://a/b"))
    with pytest.raises(SetupError, match="--blob-url"):
        storage_life.verify_storage(ServerSettings(blob_url="ftp://a/b"))
