"""`kill -9` at every point where something is written, at random points, and of one of two
replicas: nothing acknowledged is lost, and nothing is there twice. The processes and their storage
are real; only the engine is not."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import func, select

from api.services.access.usage import LEFT
from api.settings import ServerSettings
from api.storage.base import Base
from api.storage.database import Database, sqlite_url
from api.storage.errors import StorageError
from api.storage.folder import data_folder
from api.storage.tables.batches import BatchRow
from api.storage.tables.chat_completions import ChatCompletionRow
from api.storage.tables.responses import ConversationRow, ResponseRow
from api.storage.tables.uploads import UploadRow
from api.storage.tables.usage import UsageRow
from tests.api.workers.forked import Forge, ForkedServer, forging
from tests.api.workers.life import NUM_LINES, PARTS, Life, Told, Verification

Point = tuple[str, str, str]
"""The part of a client's life, and place and moment of the server."""

TRANSACTION = ("before write", "before commit", "after commit")
BLOB = ("before blob", "before rename", "after blob")

TRANSACTIONS = {
    "chat batch": (
        "create.begin_file", "create.finish_file", "service.create_batch",
        "runner._claim", "kind._validate",
        "running.keep_results", "kind._finish",
        "finishing.finish", "runner._let_go", "usage.write",
    ),
    "response batch": ("recorder.finish",),
    "file": ("remove.delete_file", "remove._remove"),
    "upload": (
        "uploads.create_upload", "uploads._begin_part", "uploads.add_part",
        "uploads.complete_upload", "uploads._remove_part",
        "uploads._remove_blobs",
    ),
    "cancelled upload": ("uploads.cancel_upload",),
    "conversation": (
        "conversations.create", "conversations.add_items",
        "conversations.remove_item", "conversations.remove",
        "recorder.finish", "retrieval.delete_response",
    ),
    "stored chat": ("stored.keep", "stored.update", "stored.remove"),
    "stream": ("recorder._begin", "recorder.finish"),
    "background stream": ("background.enqueue", "responses._write"),
    "background": ("background.enqueue", "responses._write"),
    "idempotency": (
        "idempotency.claim", "stored.keep", "idempotency.complete",
        "recorder.finish", "conversations.create",
        "uploads.create_upload", "conversations.add_items",
        "uploads.complete_upload",
    ),
}  # fmt: skip
"""Who writes to the database, in which part of a client's life."""

BLOBS = {
    "chat batch": ("create.create_file", "finishing._write"),
    "upload": ("uploads.add_part", "uploads.complete_upload"),
}

POINTS: list[Point] = [
    *((part, place, moment) for part, places in TRANSACTIONS.items()
      for place in places for moment in TRANSACTION),
    *((part, place, moment) for part, places in BLOBS.items()
      for place in places for moment in BLOB),
    ("file", "remove._remove", "after delete"),
    ("upload", "uploads._remove_part", "after delete"),
    ("chat batch", "workers.batches", "line done"),
    ("response batch", "workers.batches", "line done"),
]  # fmt: skip

NOW_AND_THEN = {
    "job.beat", "recorder._beat", "idempotency._renew",
    "idempotency.delete_expired",
}  # fmt: skip
"""They keep leases and clean up; random points find them."""

QUICK: list[Point] = [
    ("chat batch", "create.create_file", "before rename"),
    ("chat batch", "workers.batches", "line done"),
    ("chat batch", "running.keep_results", "before commit"),
    ("response batch", "recorder.finish", "after commit"),
    ("chat batch", "finishing.finish", "before commit"),
    ("upload", "uploads.complete_upload", "after blob"),
    ("conversation", "recorder.finish", "before commit"),
    ("stored chat", "stored.update", "before commit"),
    ("stream", "recorder._begin", "after commit"),
    ("background", "background.enqueue", "after commit"),
    ("background stream", "responses._write", "before commit"),
    ("idempotency", "stored.keep", "after commit"),
]
"""One of each kind, for every run of the tests."""

SHARED = ("chat batch", "response batch", "background", "background stream")
"""What the workers of all replicas do."""

NUM_RANDOM = 200
NUM_RANDOM_PARTS = 4
NUM_AT_ONCE = 4
MAX_NUM_LIVES = 20
"""Servers, each with its own storage: most of the time they wait for leases. When they die is a
matter of their own processor time."""


@pytest.fixture(scope="module")
def forge() -> Iterator[Forge]:
    with forging() as forge:
        yield forge


Tokens = tuple[int, int]


async def ledger(settings: ServerSettings, *, with_left: bool = True) -> Tokens:
    """Prompt and generated tokens of all records; of a database without tables none.

    Arguments:
        with_left: also of what the server that was killed had under way.
    """
    url = settings.database_url or sqlite_url(data_folder(settings.data_dir))
    database = Database.open(url)
    columns = (UsageRow.num_prompt_tokens, UsageRow.num_generated_tokens)
    try:
        async with database.reading() as session:
            query = select(*map(func.sum, columns))
            if not with_left:
                query = query.where(UsageRow.outcome != LEFT)
            row = (await session.execute(query)).one()
    except StorageError:
        return 0, 0
    finally:
        await database.close()
    return int(row[0] or 0), int(row[1] or 0)


async def num_repeatable(settings: ServerSettings) -> list[int]:
    """How many there are of what `REPEATABLE` makes."""
    tables = (ChatCompletionRow, ResponseRow, ConversationRow, UploadRow)
    return [await counted(settings, table) for table in tables]


async def num_open(settings: ServerSettings) -> int:
    """Jobs that are not over."""
    return sum([await counted(settings, table, table.is_open) for table in (BatchRow, ResponseRow)])


async def num_records(settings: ServerSettings) -> int:
    """Engine requests in the ledger."""
    return await counted(settings, UsageRow)


async def counted(settings: ServerSettings, table: type[Base], *conditions: Any) -> int:
    database = Database.open(settings.database_url or sqlite_url(data_folder(settings.data_dir)))
    async with database.reading() as session:
        query = select(func.count()).select_from(table).where(*conditions)
        count = await session.scalar(query)
    await database.close()
    return int(count or 0)


async def counters(server: ForkedServer) -> Tokens:
    """The same of this process."""
    text = (await server.client.get("/metrics")).text
    found = [
        re.search(rf"^vllm:{name}_tokens_total{{.*}} (\S+)", text, re.MULTILINE)
        for name in ("prompt", "generation")
    ]
    values = [0 if match is None else int(float(match[1])) for match in found]
    return values[0], values[1]


def told_tokens(told: Told) -> Tokens:
    return sum(each[0] for each in told.usages), sum(each[1] for each in told.usages)


async def kill_and_verify(
    forge: Forge, settings: ServerSettings, parts: list[str], point: str, number: int = 1
) -> None:
    """Live until death, live again."""
    told = Told()
    async with forge.serving(settings, point, number) as server:
        await Life(server, told).live(parts)
        if not server.killed_at:
            # what is written when no client waits for it any more
            await server.death(30)
        assert server.killed_at == point
    at_death = await ledger(settings)
    assert all(had >= said for had, said in zip(at_death, told_tokens(told), strict=True))
    async with forge.serving(settings) as server:
        await Verification(server, told).verify()
        async with asyncio.timeout(10):
            while True:
                now = await ledger(settings, with_left=False)
                counted = await counters(server)
                if tuple(a - b for a, b in zip(now, at_death, strict=True)) == counted:
                    break
                await asyncio.sleep(0.05)
    if parts == ["idempotency"]:
        assert max(await num_repeatable(settings)) == 1
    at_the_end = await ledger(settings)
    assert all(has >= said for has, said in zip(at_the_end, told_tokens(told), strict=True))


@pytest.mark.parametrize("point", QUICK, ids=", ".join)
async def test_a_server_killed_at_a_point_of_each_kind_loses_and_repeats_nothing(
    forge, storage_settings, point
):
    part, place, moment = point
    await kill_and_verify(forge, storage_settings, [part], f"{place}: {moment}")


@pytest.mark.slow
@pytest.mark.parametrize("point", [each for each in POINTS if each not in QUICK], ids=", ".join)
async def test_a_server_killed_at_any_point_loses_and_repeats_nothing(
    forge, storage_settings, point
):
    part, place, moment = point
    await kill_and_verify(forge, storage_settings, [part], f"{place}: {moment}")


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, NUM_RANDOM, NUM_AT_ONCE))
async def test_servers_killed_at_random_times_lose_and_repeat_nothing(
    forge, make_storage, tmp_path, first
):
    async def one(seed: int) -> None:
        parts = random.Random(seed).sample(sorted(PARTS), NUM_RANDOM_PARTS)
        async with make_storage(tmp_path / str(seed)) as settings:
            await kill_and_verify(forge, settings, parts, "random", seed)

    seeds = range(first, first + NUM_AT_ONCE)
    results = await asyncio.gather(*map(one, seeds), return_exceptions=True)
    failures = {seed: fault for seed, fault in zip(seeds, results, strict=True) if fault}
    if failures:
        raise BaseExceptionGroup(f"of seeds {list(failures)}", list(failures.values()))


async def test_every_place_that_writes_is_a_named_point(forge, storage_settings):
    assert set(QUICK) <= set(POINTS)
    async with forge.serving(storage_settings, traces=True) as server:
        await Life(server, Told()).live(PARTS)
        passed = {point.partition(":")[0] for point in server.points}
    assert passed - NOW_AND_THEN == {place for _, place, _ in POINTS}


async def test_what_a_killed_replica_ran_is_finished_by_the_other(forge, storage_settings):
    told = Told()
    async with (
        forge.serving(storage_settings) as one,
        forge.serving(storage_settings, "workers.batches: line done", 12) as two,
    ):
        lives = [SHARED, *3 * [SHARED[:2]]]
        await asyncio.gather(*(Life(one, told).live(parts) for parts in lives))
        assert two.killed_at
        await Verification(one, told).verify()
        assert await num_open(storage_settings) == 0


async def test_two_replicas_share_batches_and_background_responses_and_run_each_line_once(
    forge, storage_settings
):
    told, num_lives, used = Told(), 0, [(0, 0)]
    async with (  # no lease ends because the machine is busy
        forge.serving(storage_settings, lease_s=60) as one,
        forge.serving(storage_settings, lease_s=60) as two,
    ):
        while not all(map(all, used)):  # one may have been quick enough to do all of it
            assert num_lives < MAX_NUM_LIVES, "one does everything"
            await asyncio.gather(*(Life(one, told).live(SHARED) for _ in range(2)))
            num_lives += 2
            used = [await counters(each) for each in (one, two)]
        await Verification(two, told).verify()
        used = [await counters(each) for each in (one, two)]
    assert tuple(map(sum, zip(*used, strict=True))) == await ledger(storage_settings)
    assert await num_records(storage_settings) == num_lives * (2 * NUM_LINES + 2)
    assert await num_open(storage_settings) == 0
