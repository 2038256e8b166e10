"""A slow disk holds the client back instead of filling memory."""

from __future__ import annotations

import asyncio

from quart import Blueprint, request

from api.app import create_app, make_state
from api.http.request_body import MAX_WAITING_BYTES
from api.settings import ServerSettings


async def test_a_body_waits_in_the_socket_until_the_route_wants_it(net):
    state = make_state(ServerSettings(), "m")
    app = create_app(state, ())
    most, total, go_on = 0, 0, asyncio.Event()
    blueprint = Blueprint("uploads", __name__)

    @blueprint.post("/v1/files")
    async def slow() -> dict[str, int]:
        nonlocal most, total
        await go_on.wait()
        async for piece in request.pieces(2**30):
            most, total = max(most, len(piece)), total + len(piece)
        return {"total": total}

    app.register_blueprint(blueprint)
    world = type("World", (), {"app": app, "state": state})()
    num_bytes = 64 * 2**20
    async with net.listening(world) as port:
        wire = await net.connect(port)
        head = f"POST /v1/files HTTP/1.1\r\nhost: t\r\ncontent-length: {num_bytes}\r\n\r\n"
        await wire.send(head.encode())
        sending = asyncio.create_task(wire.send(b"x" * num_bytes))
        await asyncio.sleep(0.3)
        assert not sending.done()
        go_on.set()
        answer = await wire.read_until(b"}", 60)
        await sending
        wire.close()
        await wire.writer.wait_closed()
    assert b'"total":%d' % num_bytes in answer.replace(b" ", b"")
    assert most <= MAX_WAITING_BYTES + 2**20


async def test_other_bodies_keep_their_limit():
    app = create_app(make_state(ServerSettings(max_body_bytes=1024), "m"))
    headers = {"content-type": "application/json"}
    response = await app.test_client().post("/v1/completions", data=b"x" * 4096, headers=headers)
    assert response.status_code == 413
