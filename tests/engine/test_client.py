from __future__ import annotations

import asyncio
import logging
import os
import pathlib
import signal
import stat
import subprocess
import sys
import time

import msgspec
import pytest
import pytest_asyncio

from engine.client import DIED_TOO_OFTEN, EngineClient, EngineState
from engine.commands import Pause, PauseMode, ResetPrefixCache, Resume, Sleep, WakeUp
from engine.config import EngineConfig
from engine.errors import (
    ContextLengthError,
    EngineDiedError,
    InvalidParameterError,
    ModelFormatError,
    OverloadedError,
    SuspendedError,
)
from engine.host import OwnedProcess
from engine.request import FinishReason
from engine.watchdog import RestartPolicy

STUB = (sys.executable, str(pathlib.Path(__file__).with_name("stub_engine.py")))
STEP_TIMEOUT_S = 1.0
MAX_PROMPTS = 1024
"""As in api/protocol/completions.py."""


@pytest_asyncio.fixture
async def start():
    clients = []

    async def start_client(model="", *, is_ready=True, **options):
        host = OwnedProcess(EngineConfig(model=model), STUB)
        client = EngineClient(host, step_timeout_s=STEP_TIMEOUT_S, **options)
        clients.append(client)
        if is_ready:
            await client.wait_ready()
        return client, host

    yield start_client
    for client in clients:
        await client.close()


async def collect(client, request):
    return [delta async for deltas in client.generate(request) for delta in deltas]


def tokens(deltas):
    return [token_id for delta in deltas for token_id in delta.token_ids]


async def until(is_true, timeout_s=10.0):
    async with asyncio.timeout(timeout_s):
        while not is_true():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_a_request_gets_its_tokens(start, make_request):
    client, _ = await start()
    deltas = await collect(client, make_request("ada", num_sequences=2))
    for sequence_index in range(2):
        own = [delta for delta in deltas if delta.sequence_index == sequence_index]
        assert len(tokens(own)) == 12
        assert own[-1].finish_reason is FinishReason.LENGTH
    assert client.info.architecture == "Hash"


async def test_counters_arrive_with_the_deltas(start, make_request):
    client, _ = await start()
    await collect(client, make_request("ada"))
    assert client.stats.total_generated_tokens == 12
    assert client.stats.num_compiled_steps == 2


async def test_a_closed_generator_aborts_its_request(start, make_request):
    client, _ = await start()
    generator = client.generate(make_request("ada", max_tokens=50))
    await anext(generator)
    await generator.aclose()
    await client.probe(5.0)
    await until(lambda: client.stats.num_running == 0)
    assert client.stats.num_free_pages == client.stats.num_pages
    assert client.stats.total_generated_tokens < 50


async def test_a_cancelled_reader_aborts_its_request(start, make_request):
    client, _ = await start()
    reader = asyncio.create_task(collect(client, make_request("ada", max_tokens=50)))
    await until(lambda: client.stats.total_generated_tokens > 2)
    reader.cancel()
    await asyncio.gather(reader, return_exceptions=True)
    await client.probe(5.0)
    await until(lambda: client.stats.num_running == 0)


async def test_one_sequence_of_a_request_can_be_aborted(start, make_request):
    client, _ = await start()
    gained = []
    async for deltas in client.generate(make_request("ada", num_sequences=2, max_tokens=30)):
        if not gained:
            await client.abort("ada", [0])
        gained += [delta for delta in deltas if delta.sequence_index == 1]
    assert len(tokens(gained)) == 30


async def test_an_aborted_request_ends_its_reader(start, make_request):
    client, _ = await start()
    async for _ in client.generate(make_request("ada", max_tokens=50)):
        await client.abort("ada")
    assert client.is_ready


async def test_a_request_that_does_not_fit_is_refused_by_a_typed_error(start, make_request):
    client, _ = await start()
    with pytest.raises(ContextLengthError):
        await collect(client, make_request("long", num_prompt_tokens=500))


async def test_ids_outside_the_vocabulary_never_reach_the_engine(start, make_request):
    client, _ = await start()
    request = msgspec.structs.replace(make_request("ada"), prompt_token_ids=(1, 97))
    with pytest.raises(InvalidParameterError):
        await collect(client, request)


async def test_a_terminated_engine_leaves_the_decision_to_its_parent(start, make_request):
    client, host = await start()
    os.kill(host.process_id, signal.SIGTERM)
    assert len(tokens(await collect(client, make_request("ada")))) == 12
    assert client.num_restarts == 0


async def test_two_live_requests_cannot_share_an_id(start, make_request):
    client, _ = await start()
    generator = client.generate(make_request("ada", max_tokens=50))
    await anext(generator)
    with pytest.raises(InvalidParameterError):
        await collect(client, make_request("ada"))
    await generator.aclose()


async def test_a_full_queue_refuses_before_sending(start, make_request):
    client, _ = await start(max_waiting_requests=1)
    readers = [
        asyncio.create_task(collect(client, make_request(f"r{i}", max_tokens=30))) for i in range(9)
    ]
    await asyncio.sleep(0)
    with pytest.raises(OverloadedError):
        await collect(client, make_request("one too many"))
    assert all(len(tokens(deltas)) == 30 for deltas in await asyncio.gather(*readers))


async def test_a_request_of_many_sequences_counts_once_and_runs_alone(start, make_request):
    client, _ = await start(max_waiting_requests=1)
    wide = [make_request(f"r{i}", num_sequences=16, max_tokens=3) for i in range(9)]
    answers = await asyncio.gather(*(collect(client, request) for request in wide))
    assert [len(tokens(deltas)) for deltas in answers] == [16 * 3] * 9


async def test_the_default_queue_takes_all_prompts_one_http_request_may_have(start, make_request):
    client, _ = await start(is_ready=False)
    one = msgspec.structs.replace(make_request("one", max_tokens=1), prompt_token_ids=(1, 2))
    requests = [msgspec.structs.replace(one, request_id=f"r{i}") for i in range(MAX_PROMPTS)]
    answers = await asyncio.gather(*(collect(client, request) for request in requests))
    assert all(len(tokens(deltas)) == 1 for deltas in answers)


async def test_a_slow_reader_finds_its_tokens_merged(start, make_request):
    client, _ = await start()
    generator = client.generate(make_request("ada", max_tokens=40))
    first = await anext(generator)
    await until(lambda: client.stats.total_generated_tokens == 40)
    rest = await anext(generator)
    assert len(rest) == 1
    assert len(tokens(first + rest)) == 40
    assert rest[0].finish_reason is FinishReason.LENGTH
    await generator.aclose()


async def test_a_probe_is_answered_after_a_real_step(start):
    client, _ = await start()
    assert await client.probe(5.0) < 1.5
    assert await client.control(ResetPrefixCache()) == 1


async def test_a_killed_engine_comes_back_and_reruns_what_had_produced_nothing(start, make_request):
    client, host = await start()
    expected = {
        name: tokens(await collect(client, make_request(name))) for name in ("late", "later")
    }
    streaming = client.generate(make_request("ada", max_tokens=50))
    got = await anext(streaming)
    os.kill(host.process_id, signal.SIGKILL)
    readers = {name: asyncio.create_task(collect(client, make_request(name))) for name in expected}
    got += [delta async for deltas in streaming for delta in deltas]
    assert got[-1].finish_reason is FinishReason.ERROR
    assert got[-1].error.kind == "EngineDiedError"
    assert {name: tokens(await reader) for name, reader in readers.items()} == expected
    assert client.num_restarts == 1
    assert client.is_ready


async def test_counters_go_on_over_restarts(start, make_request):
    client, host = await start()
    await collect(client, make_request("ada"))
    before = client.total_stats
    os.kill(host.process_id, signal.SIGKILL)
    await until(lambda: not client.is_ready)
    assert client.total_stats.total_generated_tokens == 12
    assert client.stats.num_pages == 0
    await collect(client, make_request("bob"))
    assert client.stats.total_generated_tokens == 12
    assert client.total_stats.total_generated_tokens == 24
    assert client.total_stats.total_steps == before.total_steps + client.stats.total_steps
    assert client.total_stats.num_pages == client.stats.num_pages > 0


async def test_a_death_is_in_the_log_with_its_cause(start, caplog):
    client, host = await start(restart_policy=RestartPolicy(max_restarts=1, first_delay_s=0.01))
    os.kill(host.process_id, signal.SIGKILL)
    await until(lambda: client.num_restarts == 1 and client.is_ready)
    os.kill(host.process_id, signal.SIGABRT)
    await until(lambda: client.state is EngineState.FAILED)
    told = [(each.name, each.levelno, each.getMessage()) for each in caplog.records]
    assert told == [
        (
            "engine.client",
            logging.WARNING,
            "The engine was ended by signal SIGKILL; it is restarted in 0.01 s",
        ),
        (
            "engine.client",
            logging.ERROR,
            f"The engine was ended by signal SIGABRT. {DIED_TOO_OFTEN}",
        ),
    ]


async def test_the_log_has_the_exit_code_of_an_engine_that_ended_itself(
    start, make_request, caplog
):
    client, _ = await start(restart_policy=RestartPolicy(max_restarts=0))
    poison = msgspec.structs.replace(make_request("poison"), prompt_token_ids=(66, 1))
    with pytest.raises(EngineDiedError, match="not restarted"):
        await collect(client, poison)
    assert "The engine exited with code 9." in caplog.text


async def test_an_engine_that_is_still_starting_is_closed_at_once(start):
    client, _ = await start("slow", is_ready=False)
    await until(lambda: client.process_id is not None)
    await asyncio.sleep(0.5)
    started_s = time.monotonic()
    await client.close()
    assert time.monotonic() - started_s < 5.0


async def test_a_frozen_engine_is_out_of_rotation_then_replaced(start, make_request):
    client, host = await start()
    expected = tokens(await collect(client, make_request("ada")))
    frozen_id = host.process_id
    os.kill(frozen_id, signal.SIGSTOP)
    started_s = time.monotonic()
    waiting = asyncio.create_task(collect(client, make_request("ada")))
    await until(lambda: not client.is_ready)
    assert time.monotonic() - started_s < STEP_TIMEOUT_S * 5
    await until(lambda: client.is_ready)
    assert host.process_id != frozen_id
    assert tokens(await waiting) == expected
    with pytest.raises(ProcessLookupError):
        os.kill(frozen_id, 0)


async def test_a_request_that_kills_engines_is_not_tried_for_ever(start, make_request):
    client, _ = await start(restart_policy=RestartPolicy(first_delay_s=0.01))
    poison = msgspec.structs.replace(make_request("poison"), prompt_token_ids=(66, 1))
    with pytest.raises(EngineDiedError):
        await collect(client, poison)
    await until(lambda: client.is_ready)
    assert client.num_restarts == 3


async def test_too_many_deaths_are_final_and_say_so(start, make_request):
    client, host = await start(restart_policy=RestartPolicy(max_restarts=0))
    os.kill(host.process_id, signal.SIGKILL)
    await until(lambda: client.state is EngineState.FAILED)
    assert not client.is_ready
    with pytest.raises(EngineDiedError, match="died too often and is not restarted"):
        await client.wait_ready()
    with pytest.raises(EngineDiedError, match="died too often and is not restarted"):
        await collect(client, make_request("ada"))
    with pytest.raises(EngineDiedError):
        await client.probe(1.0)


async def test_a_setup_error_arrives_as_one_sentence_and_is_not_retried(start):
    client, _ = await start("broken", is_ready=False)
    with pytest.raises(ModelFormatError, match=r"config\.json of broken is no JSON"):
        await client.wait_ready()
    assert client.state is EngineState.FAILED
    assert client.num_restarts == 0


async def test_requests_wait_for_an_engine_that_is_starting(start, make_request):
    client, _ = await start(is_ready=False)
    assert not client.is_ready
    assert len(tokens(await collect(client, make_request("ada")))) == 12


async def test_two_workers_share_an_engine(start, make_request):
    owner, _ = await start()
    guest = await EngineClient.attach(owner.socket_path, step_timeout_s=STEP_TIMEOUT_S)
    await guest.wait_ready()
    both = await asyncio.gather(
        collect(owner, make_request("ada")), collect(guest, make_request("bob"))
    )
    assert [len(tokens(deltas)) for deltas in both] == [12, 12]
    await guest.close()
    assert owner.is_ready


async def test_requests_of_a_vanished_worker_are_aborted(start, make_request):
    owner, _ = await start()
    guest = await EngineClient.attach(owner.socket_path, step_timeout_s=STEP_TIMEOUT_S)
    await guest.wait_ready()
    readers = [
        asyncio.create_task(collect(guest, make_request(f"r{i}", max_tokens=55))) for i in range(12)
    ]
    await until(lambda: guest.stats.num_waiting > 0)
    await guest.close()
    gone = await asyncio.gather(*readers, return_exceptions=True)
    assert all(isinstance(each, (EngineDiedError, list)) for each in gone)

    def is_empty():
        return owner.stats.num_running + owner.stats.num_waiting == 0

    await until(lambda: owner.stats.total_steps > 0 and is_empty())


async def test_a_guest_survives_the_restart_of_its_engine(start, make_request):
    owner, host = await start()
    guest = await EngineClient.attach(owner.socket_path, step_timeout_s=STEP_TIMEOUT_S)
    await guest.wait_ready()
    os.kill(host.process_id, signal.SIGKILL)
    await until(lambda: not guest.is_ready)
    assert len(tokens(await collect(guest, make_request("ada")))) == 12
    await guest.close()


async def test_the_socket_is_private_and_does_not_outlive_the_client(start):
    client, host = await start()
    folder = os.path.dirname(client.socket_path)
    process_id = host.process_id
    assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700
    await client.close()
    assert not pathlib.Path(folder).exists()  # noqa: ASYNC240
    with pytest.raises(ProcessLookupError):
        os.kill(process_id, 0)


async def test_closing_ends_streams_and_is_final(start, make_request):
    client, _ = await start()
    streaming = client.generate(make_request("ada", max_tokens=50))
    got = await anext(streaming)
    await client.close()
    got += [delta async for deltas in streaming for delta in deltas]
    assert got[-1].finish_reason in {FinishReason.ABORT, FinishReason.ERROR}
    assert client.state is EngineState.CLOSED
    await client.close()
    with pytest.raises(EngineDiedError):
        await collect(client, make_request("bob"))


def test_an_engine_dies_with_its_parent():
    script = f"""
import asyncio, os
from engine.client import EngineClient
from engine.config import EngineConfig
from engine.host import OwnedProcess
async def main():
    host = OwnedProcess(EngineConfig(), {STUB!r})
    client = EngineClient(host, step_timeout_s=5.0)
    await client.wait_ready()
    print(host.process_id, os.path.dirname(client.socket_path), flush=True)
    os._exit(9)
asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    process_id, folder = done.stdout.split()
    deadline_s = time.monotonic() + 5
    while os.path.exists(f"/proc/{process_id}") and time.monotonic() < deadline_s:
        time.sleep(0.02)
    assert not os.path.exists(f"/proc/{process_id}")
    # A killed process removes nothing; the next one finds what it left.
    OwnedProcess(EngineConfig()).close()
    assert not os.path.exists(folder)


def test_a_client_process_imports_no_jax():
    script = "import engine.client, engine.llm, sys; print([m for m in sys.modules if m=='jax'])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


async def test_every_client_knows_what_is_suspended(start, make_request):
    client, host = await start()
    other = await EngineClient.attach(host.socket_path, step_timeout_s=STEP_TIMEOUT_S)
    try:
        await other.wait_ready()
        await other.control(Pause())
        await until(lambda: client.suspension.is_paused)
        with pytest.raises(SuspendedError):
            await collect(client, make_request("ada"))
        await client.control(Resume())
        await until(lambda: not other.suspension.is_paused)
        assert len(tokens(await collect(other, make_request("ada")))) == 12
    finally:
        await other.close()


async def test_a_sleeping_engine_is_not_taken_for_a_frozen_one(start):
    client, _ = await start()
    await client.control(Sleep(1))
    await asyncio.sleep(2 * STEP_TIMEOUT_S)
    assert client.num_restarts == 0
    assert client.is_ready


async def test_an_engine_lost_in_its_sleep_sleeps_on(start, make_request):
    client, host = await start()
    await client.control(Sleep(2, PauseMode.KEEP))
    reader = asyncio.create_task(collect(client, make_request("ada")))
    await asyncio.sleep(0.05)
    os.kill(host.process_id, signal.SIGKILL)
    await until(lambda: client.num_restarts == 1 and client.state is EngineState.READY)
    await client.probe(5.0)
    await until(lambda: client.suspension.sleep_level == 2)
    assert not reader.done()
    await client.control(WakeUp())
    assert len(tokens(await reader)) == 12
