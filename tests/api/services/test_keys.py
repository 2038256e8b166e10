from __future__ import annotations

import pytest
from sqlalchemy import text

from api.errors import APIError
from api.keys.key_ring import KeyRing
from api.services.access.keys import KeyReader, NewKey, create_key, list_keys, revoke_key


async def test_a_key_opens_after_a_refresh_and_is_closed_by_revoking(storage):
    keys, database = KeyRing(), storage.database
    reader = KeyReader(database, keys)
    await reader.refresh()
    assert keys.is_empty
    wanted = NewKey(roles=("inference", "metrics"), requests_per_minute=5, tokens_per_minute=7)
    row, key = await create_key(database, wanted)
    assert keys.find(key) is None
    await reader.refresh()
    tenant = keys.find(key)
    assert (tenant.key_id, tenant.project_id) == (row.id, row.project_id)
    assert tenant.roles == {"inference", "metrics"}
    assert (tenant.requests_per_minute, tenant.tokens_per_minute) == (5, 7)
    await revoke_key(database, row.id)
    await revoke_key(database, row.id)
    await reader.refresh()
    assert keys.find(key) is None
    assert not keys.is_empty


async def test_keys_may_share_a_project_or_have_their_own(storage):
    one, _ = await create_key(storage.database, NewKey())
    other, _ = await create_key(storage.database, NewKey(project_id=one.project_id))
    own, _ = await create_key(storage.database, NewKey())
    assert one.project_id == other.project_id != own.project_id
    assert [row.id for row in await list_keys(storage.database)] == [one.id, other.id, own.id]


async def test_the_database_never_has_the_key(storage):
    _, key = await create_key(storage.database, NewKey(name="note"))
    async with storage.database.reading() as session:
        row = (await session.execute(text("SELECT * FROM api_keys"))).one()
    shown = repr(tuple(row))
    assert key not in shown
    assert key.removeprefix("sk-servax-")[:12] not in shown


async def test_what_does_not_exist_cannot_be_revoked(storage):
    with pytest.raises(APIError) as caught:
        await revoke_key(storage.database, "key_of_nobody")
    assert caught.value.status == 404


@pytest.mark.parametrize("project", ["team", "proj_", "proj_a b", "proj_" + "x" * 200])
async def test_a_project_is_spelled_as_one(storage, project):
    with pytest.raises(APIError, match="proj_"):
        await create_key(storage.database, NewKey(project_id=project))
