from __future__ import annotations

import asyncio

import pytest

from api.http.sse import EventBody, run_unless_disconnected
from engine.errors import EngineDiedError


async def events(*items, error=None, closed=None, gap_s=0.0):
    try:
        for item in items:
            await asyncio.sleep(gap_s)
            yield item
        if error is not None:
            raise error
    finally:
        if closed is not None:
            closed.append(True)


async def test_a_stream_arrives_as_events(make_world):
    response = await make_world().app.test_client().post("/t/stream", json={})
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert response.headers["x-accel-buffering"] == "no"
    text = await response.get_data(as_text=True)
    assert text == "data: 0\n\ndata: 1\n\ndata: 2\n\ndata: [DONE]\n\n"


@pytest.mark.parametrize("interval_s", [0.0, 5.0])
@pytest.mark.parametrize(
    ("error", "told"),
    [(RuntimeError("secret"), b'"code":"server_error"'), (EngineDiedError("x"), b"unavailable")],
)
async def test_an_error_becomes_one_terminal_event(interval_s, error, told):
    body = EventBody(events(b"one", error=error), "openai", interval_s)
    parts = [part async for part in body]
    assert parts[0] == b"one"
    assert len(parts) == 2
    assert told in parts[1]
    assert parts[1].endswith(b"data: [DONE]\n\n")
    assert b"secret" not in parts[1]


async def test_silence_is_filled_with_comments():
    body = EventBody(events(b"one", b"two", gap_s=0.05), "openai", 0.02)
    parts = [part async for part in body]
    assert [part for part in parts if part != b": keep-alive\n\n"] == [b"one", b"two"]
    assert parts.count(b": keep-alive\n\n") >= 2


@pytest.mark.parametrize("interval_s", [0.0, 0.01])
async def test_closing_closes_the_generator(interval_s):
    closed = []
    body = EventBody(events(b"one", b"two", closed=closed, gap_s=0.03), "openai", interval_s)
    await anext(body)
    await body.aclose()
    await body.aclose()
    assert closed == [True]
    with pytest.raises(StopAsyncIteration):
        await anext(body)


async def test_who_closes_while_it_is_closed_waits_for_that():
    closed = []

    async def slow_to_close():
        try:
            yield b"one"
        finally:
            await asyncio.sleep(0.02)
            closed.append(True)

    body = EventBody(slow_to_close(), "openai", 0.0)
    await anext(body)
    await asyncio.gather(body.aclose(), body.aclose())
    assert closed == [True]


async def test_cancelling_waits_for_the_clean_up():
    cleaned = []

    async def work():
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.02)
            cleaned.append(True)

    task = asyncio.create_task(run_unless_disconnected(work()))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cleaned == [True]


async def test_a_client_that_leaves_a_stream_aborts_it(make_world, net, scripted_engine):
    world = make_world(scripted_engine(num_tokens=10_000, step_s=0.01))
    async with net.listening(world) as port:
        wire = await net.connect(port)
        await wire.send(net.post("/t/stream"))
        await wire.read_until(b"data: 1\n\n")
        wire.close()
        await net.until(lambda: world.engine.aborted == world.engine.started != [])
        await net.until(lambda: world.state.admission.num_in_flight == 0)


async def test_a_client_that_leaves_before_the_first_token_aborts(make_world, net, scripted_engine):
    world = make_world(scripted_engine(step_s=30))
    async with net.listening(world) as port:
        wire = await net.connect(port)
        await wire.send(net.post("/t/stream"))
        await net.until(lambda: bool(world.engine.started))
        wire.close()
        await net.until(lambda: world.engine.aborted == world.engine.started)
        await net.until(lambda: world.state.admission.num_in_flight == 0)


async def test_a_client_that_leaves_a_whole_answer_aborts_it(make_world, net, scripted_engine):
    world = make_world(scripted_engine(step_s=30))
    async with net.listening(world) as port:
        wire = await net.connect(port)
        await wire.send(net.post("/t/whole"))
        await net.until(lambda: bool(world.engine.started))
        wire.close()
        await net.until(lambda: world.engine.aborted == world.engine.started)
        await net.until(lambda: world.state.admission.num_in_flight == 0)


async def test_leaving_is_noticed_behind_pipelined_bytes(make_world, net, scripted_engine):
    world = make_world(scripted_engine(step_s=30))
    async with net.listening(world) as port:
        wire = await net.connect(port)
        await wire.send(net.post("/t/whole") + net.post("/t/whole"))
        await net.until(lambda: bool(world.engine.started))
        wire.close()
        await net.until(lambda: world.engine.aborted == world.engine.started)


async def test_a_client_that_never_reads_and_leaves_frees_everything(
    make_world, net, scripted_engine
):
    world = make_world(scripted_engine(num_tokens=1_000_000, step_s=0.0))
    async with net.listening(world) as port:
        wire = await net.connect(port)
        await wire.send(net.post("/t/stream"))
        await net.until(lambda: bool(world.engine.started))
        await asyncio.sleep(0.1)
        wire.writer.transport.abort()
        await net.until(lambda: world.engine.aborted == world.engine.started)
        await net.until(lambda: world.state.admission.num_in_flight == 0)


async def test_fifty_random_leavers_leave_nothing_behind(make_world, net, scripted_engine):
    world = make_world(scripted_engine(num_tokens=1000, step_s=0.002), max_num_queued_reqs=0)
    async with net.listening(world) as port:

        async def leave(index: int) -> None:
            wire = await net.connect(port)
            await wire.send(net.post("/t/stream" if index % 2 else "/t/whole"))
            await asyncio.sleep(0.002 * (index % 25))
            wire.close()

        await asyncio.gather(*(leave(index) for index in range(50)))
        await net.until(lambda: world.state.admission.num_in_flight == 0)
        assert sorted(world.engine.aborted) == sorted(world.engine.started)
