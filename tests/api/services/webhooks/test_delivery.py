from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager

import openai
import pytest
from sqlalchemy import func, select

from api.errors import APIError
from api.services.webhooks.delivery import CLAIM_S, PAUSES_S, Deliverer, make_client
from api.services.webhooks.endpoints import add_endpoint, list_endpoints, remove_endpoint
from api.services.webhooks.events import emit
from api.services.webhooks.signing import spelled
from api.storage.tables.webhooks import WebhookDeliveryRow


class Receiver:
    """A server that answers each request with the next of `statuses`, the last for ever."""

    def __init__(self) -> None:
        self.statuses = [200]
        self.requests: list[tuple[str, dict[str, str], bytes]] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.strip().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        headers["webhook-signature"] = next(
            line.split(": ", 1)[1] for line in lines if line.lower().startswith("webhook-sig")
        )
        body = await reader.readexactly(int(headers["content-length"]))
        self.requests.append((first, headers, body))
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        location = "location: http://127.0.0.1:1/\r\n" if 300 <= status < 400 else ""
        answer = f"HTTP/1.1 {status} x\r\n{location}content-length: 0\r\nconnection: close\r\n\r\n"
        writer.write(answer.encode())
        await writer.drain()
        writer.close()


class World:
    """A receiver, one endpoint that points to it, and a clock."""

    def __init__(self, storage, receiver: Receiver, client, address: str) -> None:
        self.database, self.receiver, self.address = storage.database, receiver, address
        self.now_s = 1_800_000_000.0
        self.deliverers = [
            Deliverer(self.database, client, [address], clock=lambda: self.now_s) for _ in range(2)
        ]

    async def add(self, project_id: str = "proj_a"):
        url = f"http://{self.address}/hook"
        return await add_endpoint(self.database, project_id, url, (), [self.address])

    async def emit(self) -> None:
        async with self.database.writing() as session:
            await emit(session, "proj_a", "response.completed", "resp_1")

    async def deliver(self) -> int:
        return await self.deliverers[0].deliver_due()

    async def num_waiting(self) -> int:
        async with self.database.reading() as session:
            return await session.scalar(select(func.count(WebhookDeliveryRow.id)))


@asynccontextmanager
async def receiving():
    receiver = Receiver()
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0)
    async with server, make_client() as client:
        port = server.sockets[0].getsockname()[1]
        yield receiver, client, f"127.0.0.1:{port}"


@pytest.fixture
async def world(storage):
    async with receiving() as (receiver, client, address):
        yield World(storage, receiver, client, address)


async def test_openais_client_accepts_what_is_sent(world):
    endpoint = await world.add()
    await world.emit()
    world.now_s = time.time()
    assert await world.deliver() == 1
    [(first, headers, body)] = world.receiver.requests
    assert first == "POST /hook HTTP/1.1"
    assert headers["host"] == world.address
    client = openai.OpenAI(api_key="x", webhook_secret=spelled(endpoint.secret))
    event = client.webhooks.unwrap(body.decode(), headers)
    assert (event.type, event.data.id) == ("response.completed", "resp_1")
    with pytest.raises(openai.InvalidWebhookSignatureError):
        client.webhooks.unwrap(body.decode().replace("resp_1", "resp_2"), headers)
    assert await world.num_waiting() == 0


async def test_a_failure_is_tried_again_with_growing_pauses_under_the_same_id(world):
    await world.add()
    await world.emit()
    world.receiver.statuses = [500, 302, 200]
    for pause_s in PAUSES_S[:2]:
        assert await world.deliver() == 1
        world.now_s += pause_s - 0.5
        assert await world.deliver() == 0
        world.now_s += 1
    assert await world.deliver() == 1
    assert await world.num_waiting() == 0
    assert len({headers["webhook-id"] for _, headers, _ in world.receiver.requests}) == 1
    assert len({headers["webhook-timestamp"] for _, headers, _ in world.receiver.requests}) == 3
    assert len(world.receiver.requests) == 3, "a redirect is not followed"


async def test_it_is_given_up_after_the_last_pause(world):
    await world.add()
    await world.emit()
    world.receiver.statuses = [503]
    for _ in range(len(PAUSES_S) + 1):
        assert await world.deliver() == 1
        world.now_s += PAUSES_S[-1] + 1
    assert await world.num_waiting() == 0


async def test_two_processes_send_an_event_once(world):
    await world.add()
    for _ in range(10):
        await world.emit()
    tried = await asyncio.gather(*(each.deliver_due() for each in world.deliverers))
    assert sum(tried) == 10
    assert len({headers["webhook-id"] for _, headers, _ in world.receiver.requests}) == 10


async def test_a_claim_of_a_process_that_died_runs_out(world):
    await world.add()
    await world.emit()
    await world.deliverers[1]._claim()
    assert await world.deliver() == 0
    world.now_s += CLAIM_S + 1
    assert await world.deliver() == 1


async def test_an_endpoint_that_was_removed_is_told_nothing(world):
    endpoint = await world.add()
    await world.emit()
    await remove_endpoint(world.database, endpoint.id)
    await world.deliver()
    assert world.receiver.requests == []
    assert await world.num_waiting() == 0
    with pytest.raises(APIError):
        await remove_endpoint(world.database, endpoint.id)


async def test_an_endpoint_that_is_not_allowed_any_more_is_not_called(world):
    await world.add()
    await world.emit()
    world.deliverers[0]._allowed = ("127.0.0.1:1",)
    await world.deliver()
    assert world.receiver.requests == []
    assert await world.num_waiting() == 1


@pytest.mark.parametrize(
    ("url", "types"), [("https://evil.org/", ()), ("https://hooks.example.com/", ("batch.done",))]
)
async def test_what_could_not_be_sent_is_not_taken(storage, url, types):
    with pytest.raises(APIError):
        await add_endpoint(storage.database, "proj_a", url, types, ["hooks.example.com"])
    assert await list_endpoints(storage.database) == []
