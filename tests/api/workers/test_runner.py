from __future__ import annotations

import asyncio

import pytest

from api.storage.ids import new_id
from api.storage.leases import LeaseLostError, claim
from api.storage.tables.batches import BatchRow
from api.workers.job import Job
from api.workers.runner import JobRunner


def row(queue="q") -> BatchRow:
    return BatchRow(
        id=new_id("batch"), project_id="proj_a", created_at=1, queue=queue, is_open=True,
        endpoint="/v1/completions", input_file_id="file-1", completion_window="24h",
        key_id="key_a", status="validating", expires_at=2,
    )  # fmt: skip


class Kind:
    """Counts up to `num_steps`, one transaction a step; keeps who did what."""

    name = "count"
    table = BatchRow
    queues = ("q",)
    max_num_running = 2

    def __init__(self, num_steps=3, step_s=0.0):
        self.num_steps = num_steps
        self.step_s = step_s
        self.steps = []
        self.given_up = []
        self.fault = None
        self.started = asyncio.Event()

    async def run(self, job: Job[BatchRow]) -> None:
        self.started.set()
        while job.row.num_completed < self.num_steps:
            if job.should_stop.is_set():
                return
            await asyncio.sleep(self.step_s)
            if self.fault is not None:
                raise self.fault
            async with job.writing() as (_, row):
                row.num_completed += 1
                row.is_open = row.num_completed < self.num_steps
            self.steps.append((job.lease.row_id, row.num_completed))

    async def give_up(self, job: Job[BatchRow]) -> None:
        async with job.writing() as (_, row):
            row.is_open = False
            row.status = "failed"
        self.given_up.append(job.lease.row_id)


async def add(storage, *rows):
    async with storage.database.writing() as session:
        session.add_all(rows)
    return [each.id for each in rows]


async def load(storage, row_id):
    async with storage.database.reading() as session:
        return await session.get_one(BatchRow, row_id)


async def until(condition, timeout_s=60.0):
    async with asyncio.timeout(timeout_s):
        while not await condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def closed(storage, *row_ids):
    async def are_closed():
        return not any([(await load(storage, row_id)).is_open for row_id in row_ids])

    await until(are_closed)


def runner(storage, kind, **options):
    made = JobRunner(storage.database, [kind], **{"poll_s": 0.05} | options)
    made.start()
    return made


async def test_every_job_is_run_once_by_one_of_several_runners(storage):
    kinds = [Kind(), Kind(), Kind()]
    row_ids = await add(storage, *(row() for _ in range(8)))
    runners = [runner(storage, kind) for kind in kinds]
    await closed(storage, *row_ids)
    for each in runners:
        await each.stop(1.0)
    steps = sorted(step for kind in kinds for step in kind.steps)
    assert steps == sorted((row_id, n) for row_id in row_ids for n in (1, 2, 3))


async def test_a_job_of_another_queue_is_left_alone(storage):
    [mine] = await add(storage, row())
    [other] = await add(storage, row("elsewhere"))
    one = runner(storage, Kind())
    await closed(storage, mine)
    await one.stop(0)
    assert (await load(storage, other)).lease_number == 0


async def test_wake_starts_a_job_without_waiting_for_the_next_look(storage):
    kind = Kind()
    one = runner(storage, kind, poll_s=60)
    await asyncio.sleep(0.1)
    [row_id] = await add(storage, row())
    one.wake()
    await closed(storage, row_id)
    await one.stop(0)


async def test_a_job_outlives_its_first_lease_because_it_is_renewed(storage):
    kind = Kind(num_steps=4, step_s=1.0)
    [row_id] = await add(storage, row())
    runners = [runner(storage, kind, lease_s=3.0), runner(storage, kind, lease_s=3.0)]
    await closed(storage, row_id)
    for each in runners:
        await each.stop(0)
    assert (await load(storage, row_id)).lease_number == 1
    assert [n for _, n in kind.steps] == [1, 2, 3, 4]


async def test_a_dead_worker_s_job_is_taken_over_where_it_stood(storage):
    [row_id] = await add(storage, row())
    async with storage.database.writing() as session:
        dead = await claim(session, BatchRow, ("q",), "dead", 2_000)
    assert dead is not None
    job = Job(storage.database, BatchRow, dead, "dead")
    async with job.writing() as (_, held):
        held.num_completed = 2
    kind = Kind(num_steps=4)
    one = runner(storage, kind)
    await closed(storage, row_id)
    await one.stop(0)
    assert [n for _, n in kind.steps] == [3, 4]


async def test_who_lost_the_lease_can_write_nothing(storage):
    [row_id] = await add(storage, row())
    async with storage.database.writing() as session:
        first = await claim(session, BatchRow, ("q",), "slow", 1)
    stale = Job(storage.database, BatchRow, first, "slow")
    await asyncio.sleep(0.05)
    async with storage.database.writing() as session:
        assert await claim(session, BatchRow, ("q",), "fast", 60_000) is not None
    with pytest.raises(LeaseLostError):
        async with stale.writing() as (_, held):
            held.num_completed = 99
    assert not await stale.beat(1000)
    assert (await load(storage, row_id)).num_completed == 0


async def test_stop_hands_a_job_over_at_once(storage):
    slow = Kind(num_steps=1000, step_s=0.02)
    [row_id] = await add(storage, row())
    one = runner(storage, slow)
    await slow.started.wait()
    await one.stop(5.0)
    handed_over = await load(storage, row_id)
    assert handed_over.is_open
    assert handed_over.lease_owner is None
    assert handed_over.num_completed == len(slow.steps)
    fast = Kind(num_steps=handed_over.num_completed + 1)
    other = runner(storage, fast)
    await closed(storage, row_id)
    await other.stop(0)


async def test_a_job_that_does_not_stop_in_time_is_cancelled_and_released(storage):
    stuck = Kind(step_s=3600)
    [row_id] = await add(storage, row())
    one = runner(storage, stuck)
    await stuck.started.wait()
    await one.stop(0.05)
    assert (await load(storage, row_id)).lease_owner is None


async def test_a_job_that_always_fails_is_given_up(storage, monkeypatch):
    monkeypatch.setattr("api.workers.runner.RETRY_S", 0.001)
    kind = Kind()
    kind.fault = RuntimeError("broken")
    [row_id] = await add(storage, row())
    one = runner(storage, kind)
    await closed(storage, row_id)
    await one.stop(0)
    assert kind.given_up == [row_id]
    assert (await load(storage, row_id)).status == "failed"


class Waiting(Kind):
    """Writes when it may."""

    def __init__(self):
        super().__init__()
        self.may_write = asyncio.Event()

    async def run(self, job):
        self.started.set()
        await self.may_write.wait()
        async with job.writing():
            pass


@pytest.mark.parametrize(
    ("is_open", "told"), [(True, "is run by another worker"), (False, "was ended from outside")]
)
async def test_what_became_of_a_lost_job_is_told_as_it_is(storage, caplog, is_open, told):
    caplog.set_level("INFO")
    kind = Waiting()
    [row_id] = await add(storage, row())
    one = runner(storage, kind)
    await kind.started.wait()
    async with storage.database.writing() as session:
        lost = await session.get_one(BatchRow, row_id)
        lost.lease_number += 1
        lost.is_open = is_open
    kind.may_write.set()
    async with asyncio.timeout(10):
        while row_id not in caplog.text:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    await one.stop(0)
    assert f"{row_id} {told}" in caplog.text
