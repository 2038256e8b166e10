from __future__ import annotations

import asyncio
import contextlib

import pytest
import zmq

from engine.messages import AbortRequests, Done, Probe, ToClient
from engine.transport import sockets
from engine.transport.connection import Connection
from engine.transport.sockets import SocketEndpoint


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "engine.sock")


@pytest.fixture
def endpoint(path):
    endpoint = SocketEndpoint(path)
    yield endpoint
    endpoint.close()


class Client:
    def __init__(self, path: str) -> None:
        self.received: list[ToClient] = []
        self.num_lost = 0
        self.connection = Connection(path, self.received.append, self._lose)

    def _lose(self) -> None:
        self.num_lost += 1


@contextlib.asynccontextmanager
async def connected(path):
    client = Client(path)
    yield client
    client.connection.close()


async def receive(endpoint, number=1):
    """What arrives, while the event loop goes on."""
    arrived = []
    async with asyncio.timeout(5):
        while len(arrived) < number:
            arrived += endpoint.receive(0.0)
            await asyncio.sleep(0.005)
    return arrived


async def until(is_true):
    async with asyncio.timeout(5):
        while not is_true():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def test_messages_go_both_ways_in_order(endpoint, path):
    async with connected(path) as client:
        client.connection.send(Probe(1))
        client.connection.send(AbortRequests(("r",)))
        first, second = await receive(endpoint, 2)
        assert (first.message, second.message) == (Probe(1), AbortRequests(("r",)))
        for number in range(100):
            endpoint.send(first.client_id, Done(number))
        await until(lambda: len(client.received) == 100)
        assert client.received == [Done(number) for number in range(100)]


async def test_a_client_that_leaves_is_reported_once(endpoint, path):
    async with connected(path) as client:
        client.connection.send(Probe(1))
        (arrived,) = await receive(endpoint)
    (gone,) = await receive(endpoint)
    assert (gone.client_id, gone.message) == (arrived.client_id, None)
    endpoint.send(arrived.client_id, Done(1))
    assert endpoint.receive(0.0) == []


async def test_the_others_stay_when_one_leaves(endpoint, path):
    async with connected(path) as stays:
        stays.connection.send(Probe(1))
        (staying,) = await receive(endpoint)
        async with connected(path) as leaves:
            leaves.connection.send(Probe(2))
            await receive(endpoint)
        (gone,) = await receive(endpoint)
        assert gone.client_id != staying.client_id
        assert endpoint.client_ids == {staying.client_id}
        await asyncio.sleep(0.02)
        assert stays.received == []


async def test_a_client_silent_for_long_is_gone(endpoint, path, monkeypatch):
    async with connected(path) as client:
        client.connection.send(Probe(1))
        await receive(endpoint)
        monkeypatch.setattr(sockets, "MAX_CLIENT_SILENCE_S", -1.0)
        (gone,) = await receive(endpoint)
        assert gone.message is None


async def test_what_is_no_message_ends_the_session_of_its_sender(endpoint, path):
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.connect(f"ipc://{path}")
        socket.send(b"\x80\x04not a message")
        (gone,) = await receive(endpoint)
        assert gone.message is None


async def test_a_connection_tells_once_that_the_engine_is_gone(path):
    endpoint = SocketEndpoint(path)
    async with connected(path) as client:
        client.connection.send(Probe(1))
        (arrived,) = await receive(endpoint)
        endpoint.send(arrived.client_id, Done(9))
        endpoint.close()
        await until(lambda: client.num_lost == 1)
        # What was said last still arrives.
        assert client.received == [Done(9)]
        client.connection.send(Probe(2))
        await asyncio.sleep(0.05)
        assert client.num_lost == 1


async def test_a_connection_to_nobody_is_lost(path):
    async with connected(path) as client:
        await until(lambda: client.num_lost == 1)
