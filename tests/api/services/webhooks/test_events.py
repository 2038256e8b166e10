from __future__ import annotations

import orjson
from sqlalchemy import select

from api.services.webhooks.events import emit
from api.storage.ids import new_id
from api.storage.tables.webhooks import WebhookDeliveryRow, WebhookEndpointRow


async def add_endpoint(storage, project_id: str, event_types: tuple[str, ...] = ()) -> str:
    row = WebhookEndpointRow(
        id=new_id("webhook"),
        project_id=project_id,
        created_at=1,
        url="https://example.com/hook",
        secret=b"secret",
        event_types=list(event_types),
    )
    async with storage.database.writing() as session:
        session.add(row)
    return row.id


async def deliveries(storage) -> list[WebhookDeliveryRow]:
    async with storage.database.reading() as session:
        return list(await session.scalars(select(WebhookDeliveryRow)))


async def test_every_endpoint_of_the_project_that_wants_it_is_told(storage):
    wants_all = await add_endpoint(storage, "proj_a")
    wants_it = await add_endpoint(storage, "proj_a", ("batch.completed", "batch.failed"))
    await add_endpoint(storage, "proj_a", ("response.completed",))
    await add_endpoint(storage, "proj_b")
    async with storage.database.writing() as session:
        await emit(session, "proj_a", "batch.completed", "batch_1")
    told = await deliveries(storage)
    assert {row.endpoint_id for row in told} == {wants_all, wants_it}
    assert len({row.event_id for row in told}) == 1
    event = orjson.loads(told[0].body)
    assert event.pop("created_at") > 0
    assert event == {
        "id": told[0].event_id,
        "object": "event",
        "type": "batch.completed",
        "data": {"id": "batch_1"},
    }


async def test_an_event_is_told_only_if_its_change_is_committed(storage):
    await add_endpoint(storage, "proj_a")
    try:
        async with storage.database.writing() as session:
            await emit(session, "proj_a", "response.completed", "resp_1")
            raise KeyError
    except KeyError:
        pass
    assert await deliveries(storage) == []
