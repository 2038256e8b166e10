from __future__ import annotations

import asyncio
import dataclasses

import pytest
from sqlalchemy import select

from api.keys import accounts as accounts_module
from api.keys.accounts import Accounts
from api.keys.quotas import Quotas
from api.keys.tenant import Tenant
from api.services.access.usage import DatabaseUsageWriter, usage_by_key
from api.storage.errors import StorageError
from api.storage.tables.usage import UsageRow

TENANT = Tenant(project_id="proj_x", key_id="key_x", is_metered=True)


def use(accounts: Accounts, request_id: str, prompt=5, cached=2, generated=3) -> None:
    account = accounts.open(TENANT, request_id, "m")
    account.prompt(prompt)
    account.cached(cached)
    account.generated(generated)
    account.close("stop")
    account.close("abort")


class Writer:
    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.fault: Exception | None = None
        self.may_write = asyncio.Event()
        self.may_write.set()

    async def write(self, records) -> None:
        await self.may_write.wait()
        if self.fault is not None:
            raise self.fault
        self.batches.append([record.id for record in records])


async def test_usage_is_added_up_by_key_and_written_once(storage):
    accounts = Accounts()
    accounts.ledger.attach(DatabaseUsageWriter(storage.database))
    use(accounts, "a")
    use(accounts, "b", prompt=10)
    await accounts.ledger.flush()
    writer = DatabaseUsageWriter(storage.database)
    async with storage.database.reading() as session:
        rows = list(await session.scalars(select(UsageRow)))
    assert {row.outcome for row in rows} == {"stop"}
    again = accounts_module.UsageRecord(
        **{name: getattr(rows[0], name) for name in accounts_module.UsageRecord.__slots__}
    )
    await writer.write([again, dataclasses.replace(again, id="c")])
    [sums] = await usage_by_key(storage.database, 0, 2**40)
    assert (sums.key_id, sums.num_requests) == ("key_x", 3)
    assert sums.num_prompt_tokens == 15 + again.num_prompt_tokens
    assert await usage_by_key(storage.database, 0, 1) == []


async def test_the_end_waits_for_the_commit_of_its_record():
    accounts, writer = Accounts(), Writer()
    accounts.ledger.attach(writer)
    writer.may_write.clear()
    use(accounts, "a")
    flushing = asyncio.create_task(accounts.ledger.flush())
    settling = asyncio.create_task(accounts.ledger.settled())
    await asyncio.sleep(0.02)
    assert not settling.done()
    writer.may_write.set()
    await asyncio.wait_for(settling, 1)
    await flushing
    assert writer.batches == [["a"]]


async def test_a_database_that_fails_holds_nobody_up_and_loses_nothing(monkeypatch):
    monkeypatch.setattr(accounts_module, "MAX_SETTLE_S", 30)
    accounts, writer = Accounts(), Writer()
    accounts.ledger.attach(writer)
    writer.fault = StorageError()
    use(accounts, "a")
    with pytest.raises(StorageError):
        await accounts.ledger.flush()
    await asyncio.wait_for(accounts.ledger.settled(), 1)
    writer.fault = None
    use(accounts, "b")
    await accounts.ledger.flush()
    assert writer.batches == [["a", "b"]]


async def test_who_waits_when_the_database_fails_waits_no_longer(monkeypatch):
    monkeypatch.setattr(accounts_module, "MAX_SETTLE_S", 30)
    accounts, writer = Accounts(), Writer()
    accounts.ledger.attach(writer)
    use(accounts, "a")
    settling = asyncio.create_task(accounts.ledger.settled())
    await asyncio.sleep(0)
    writer.fault = StorageError()
    with pytest.raises(StorageError):
        await accounts.ledger.flush()
    await asyncio.wait_for(settling, 1)


async def test_records_from_before_the_database_is_open_are_kept():
    accounts, writer = Accounts(), Writer()
    accounts.ledger.expect()
    use(accounts, "early")
    await asyncio.wait_for(accounts.ledger.settled(), 1)
    accounts.ledger.attach(writer)
    await accounts.ledger.flush()
    assert writer.batches == [["early"]]


def test_tokens_are_taken_from_the_keys_minute():
    accounts = Accounts(Quotas(1000, 1000))
    use(accounts, "a", prompt=100, generated=50)
    bucket = accounts.quotas.of(TENANT).tokens
    assert bucket.per_minute - bucket.level == pytest.approx(150, abs=1)


def test_work_in_the_background_leaves_the_keys_minute_alone():
    accounts = Accounts(Quotas(1000, 1000))
    accounts.open(dataclasses.replace(TENANT, is_metered=False), "a", "m").generated(500)
    assert accounts.quotas.of(TENANT).tokens.remaining == 1000


@pytest.mark.parametrize("chosen", ["a" * 1000, "\0", "\ud800", "a b", "ä"])
async def test_an_id_that_a_client_chose_cannot_stop_the_ledger(storage, chosen):
    accounts = Accounts()
    accounts.ledger.attach(DatabaseUsageWriter(storage.database))
    use(accounts, f"cmpl-{chosen}-0-1234")
    use(accounts, "cmpl-next-0-1234")
    await accounts.ledger.flush()
    [sums] = await usage_by_key(storage.database, 0, 2**40)
    assert sums.num_requests == 2
    assert len(accounts_module.record_id(chosen)) <= 200
