from __future__ import annotations

import asyncio

from api.app import make_state
from api.settings import ServerSettings
from api.storage.tables.batches import BatchRow
from api.storage.tables.files import FileRow
from api.workers.crew import Crew


class Kind:
    name = "none"
    table = BatchRow
    queues = ("q",)
    max_num_running = 1

    async def run(self, job):
        raise AssertionError

    async def give_up(self, job):
        raise AssertionError


async def hired(state):
    async with asyncio.timeout(5):
        while state.jobs is None:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_workers_start_when_storage_is_open_and_the_model_loaded(storage):
    state = make_state(ServerSettings(), "m")
    crew = Crew(state, (lambda state: Kind(),))
    crew.hire()
    state.loaded.set()
    await asyncio.sleep(0.05)
    assert state.jobs is None
    state.take_storage(storage)
    await hired(state)
    await crew.hand_over()
    await crew.dismiss()
    assert state.jobs is None


async def test_what_is_over_is_swept_when_the_server_starts(storage):
    async with storage.database.writing() as session:
        session.add(
            FileRow(id="file-1", project_id="proj_a", created_at=1, num_bytes=0, filename="x",
                    purpose="batch", status="processed", expires_at=2, touched_at=1)
        )  # fmt: skip
    state = make_state(ServerSettings(), "m")
    crew = Crew(state, (lambda state: Kind(),))
    crew.hire()
    state.loaded.set()
    state.take_storage(storage)
    await hired(state)

    async def is_gone():
        async with storage.database.reading() as session:
            return await session.get(FileRow, "file-1") is None

    async with asyncio.timeout(5):
        while not await is_gone():  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    await crew.dismiss()


async def test_a_server_that_never_loads_has_no_workers_and_stops(storage):
    state = make_state(ServerSettings(), "m")
    crew = Crew(state, (lambda state: Kind(),))
    crew.hire()
    state.take_storage(storage)
    await crew.hand_over()
    state.loaded.set()
    await asyncio.sleep(0.05)
    assert state.jobs is None
    await crew.dismiss()
