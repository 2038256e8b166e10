"""Whole batches: routes, workers, storage; the engine says what it is told to."""

from __future__ import annotations

import asyncio
import codecs
import io
import json

import pytest
from quart.datastructures import FileStorage

from api.app import create_app, state_of
from api.http.access import RequestState
from api.services.batches.names import ENDED
from api.services.files.remove import sweep_files
from api.storage.tables.batches import BatchLineRow, BatchRow
from api.workers.batches import gate as gates
from api.workers.batches import kind as kind_module
from api.workers.batches import running
from api.workers.batches.gate import LiveFirst
from api.workers.batches.reading import split_lines
from api.workers.job import Job
from api.workers.runner import LEASE_S, JobRunner
from engine.errors import OverloadedError
from engine.request import FinishReason

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"
RESPONSES = "/v1/responses"


def line(custom_id, url=CHAT, **body):
    default = {
        "model": "test-model",
        "messages": [{"role": "user", "content": "hi"}],
        "max_tokens": 5,
    }
    if url == COMPLETIONS:
        default = {"model": "test-model", "prompt": "one", "max_tokens": 5}
    if url == "/v1/responses":
        default = {"model": "test-model", "input": "hi", "store": False}
    return {"custom_id": custom_id, "method": "POST", "url": url, "body": {**default, **body}}


def jsonl(*lines):
    return b"".join(json.dumps(each).encode() + b"\n" for each in lines)


class World:
    """A server with workers, in this process."""

    def __init__(self, speaker, storage, **options):
        self.engine = speaker.engine
        self.storage = storage
        self.state = state_of(speaker.context)
        self.state.take_storage(storage)
        self.client = create_app(self.state).test_client()
        self.options = {"poll_s": 0.05} | options
        self.runners = []

    def hire(self):
        kind = kind_module.batches(self.state)
        runner = JobRunner(self.storage.database, [kind], **self.options)
        runner.start()
        self.runners.append(runner)
        return runner

    async def ask(self, method, path, **options):
        response = await self.client.open(path, method=method, **options)
        return response.status_code, json.loads(await response.get_data())

    async def upload(self, data, purpose="batch"):
        files = {"file": FileStorage(io.BytesIO(data), filename="in.jsonl")}
        return (await self.ask("POST", "/v1/files", form={"purpose": purpose}, files=files))[1]

    async def create(self, data, endpoint=CHAT, **more):
        file = await self.upload(data)
        body = {"input_file_id": file["id"], "endpoint": endpoint, "completion_window": "24h"}
        status, batch = await self.ask("POST", "/v1/batches", json={**body, **more})
        assert status == 200, batch
        return batch

    async def retrieve(self, batch):
        return (await self.ask("GET", f"/v1/batches/{batch['id']}"))[1]

    async def ended(self, batch, timeout_s=60.0):
        async with asyncio.timeout(timeout_s):
            while (now := await self.retrieve(batch))["status"] not in ENDED:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        return now

    async def results(self, file_id):
        response = await self.client.get(f"/v1/files/{file_id}/content")
        return [json.loads(each) for each in (await response.get_data()).splitlines()]


@pytest.fixture
async def world(services_world, storage, monkeypatch):
    monkeypatch.setattr(running, "GROUP_S", 0.02)
    # Beats as often as a test can wait, of a lease that no stall of a loaded machine loses.
    monkeypatch.setattr("api.workers.runner.BEATS_PER_LEASE", LEASE_S / 0.2)
    made = World(services_world.make_speaker("hello world"), storage)
    yield made
    for runner in made.runners:
        await runner.stop(0)


@pytest.mark.parametrize("endpoint", [CHAT, COMPLETIONS, "/v1/responses"])
async def test_unknown_fields_of_a_line_are_named_beside_its_answer(world, endpoint):
    world.hire()
    batch = await world.create(jsonl(line("a", endpoint, foo=1), line("b", endpoint)), endpoint)
    done = await world.ended(batch)
    named, plain = await world.results(done["output_file_id"])
    assert named["response"]["warning"].endswith('no effect: foo"')
    assert "warning" not in plain["response"]


async def test_unknown_members_beside_the_body_are_named_too(world):
    world.hire()
    batch = await world.create(jsonl({**line("a", foo=1), "priority": 2}))
    done = await world.ended(batch)
    (named,) = await world.results(done["output_file_id"])
    assert named["response"]["warning"].endswith('no effect: priority, foo"')


async def test_unknown_members_beside_the_body_fail_a_batch_with_strict_fields(
    services_world, storage
):
    world = World(services_world.make_speaker("hello world", strict_fields=True), storage)
    runner = world.hire()
    done = await world.ended(await world.create(jsonl(line("a"), {**line("b"), "priority": 2})))
    (error,) = done["errors"]["data"]
    assert (done["status"], error["code"]) == ("failed", "unknown_parameter")
    assert (error["line"], error["param"]) == (2, "priority")
    await runner.stop(0)


async def test_unknown_fields_of_a_line_are_its_error_with_strict_fields(
    services_world, storage, monkeypatch
):
    monkeypatch.setattr(running, "GROUP_S", 0.02)
    speaker = services_world.make_speaker("hello world", strict_fields=True)
    world = World(speaker, storage)
    runner = world.hire()
    done = await world.ended(await world.create(jsonl(line("a", foo=1), line("b"))))
    (refused,) = await world.results(done["error_file_id"])
    error = refused["response"]["body"]["error"]
    assert (refused["custom_id"], error["param"]) == ("a", "foo")
    assert len(await world.results(done["output_file_id"])) == 1
    await runner.stop(0)


@pytest.mark.parametrize("endpoint", [CHAT, COMPLETIONS, "/v1/responses"])
async def test_a_batch_answers_every_line_in_the_order_of_the_file(world, endpoint):
    world.hire()
    batch = await world.create(
        jsonl(*(line(f"line-{index}", endpoint) for index in range(20))),
        endpoint,
        metadata={"who": "me"},
    )
    assert (batch["object"], batch["status"]) == ("batch", "validating")
    assert batch["expires_at"] == batch["created_at"] + 24 * 3600
    done = await world.ended(batch)
    assert (done["status"], done["model"], done["metadata"]) == (
        "completed", "test-model", {"who": "me"})  # fmt: skip
    assert done["request_counts"] == {"total": 20, "completed": 20, "failed": 0}
    assert done["in_progress_at"] <= done["finalizing_at"] <= done["completed_at"]
    assert done["error_file_id"] is None
    results = await world.results(done["output_file_id"])
    assert [each["custom_id"] for each in results] == [f"line-{index}" for index in range(20)]
    assert len({each["id"] for each in results}) == 20
    first = results[0]
    assert first["id"].startswith("batch_req_")
    assert (first["error"], first["response"]["status_code"]) == (None, 200)
    assert "hello world" in json.dumps(first["response"]["body"])
    used = [each["response"]["body"]["usage"] for each in results]
    name = "input_tokens" if endpoint == "/v1/responses" else "prompt_tokens"
    assert done["usage"]["input_tokens"] == sum(each[name] for each in used)
    assert done["usage"]["total_tokens"] == sum(each["total_tokens"] for each in used)
    file = (await world.ask("GET", f"/v1/files/{done['output_file_id']}"))[1]
    assert file["purpose"] == "batch_output"
    assert await rows_of(world, BatchLineRow) == []


async def rows_of(world, table):
    from sqlalchemy import select

    async with world.storage.database.reading() as session:
        return list(await session.scalars(select(table)))


async def test_a_line_that_is_refused_goes_to_the_error_file_with_its_envelope(world):
    world.hire()
    batch = await world.create(jsonl(line("good"), line("bad", temperature=99)))
    done = await world.ended(batch)
    assert done["request_counts"] == {"total": 2, "completed": 1, "failed": 1}
    [bad] = await world.results(done["error_file_id"])
    assert (bad["custom_id"], bad["error"]) == ("bad", None)
    assert bad["response"]["status_code"] == 400
    assert bad["response"]["body"]["error"]["param"] == "temperature"
    [good] = await world.results(done["output_file_id"])
    assert good["custom_id"] == "good"


BAD_LINES = [
    (b"not json\n", "invalid_json", None, 1),
    (json.dumps(line("a")).encode("utf-16"), "invalid_json", None, 1),
    (jsonl(line("a")) + codecs.BOM_UTF8 + jsonl(line("b")), "invalid_json", None, 2),
    (b"\n\n[]\n", "invalid_type", None, 3),
    (jsonl(line("a"), line("a")), "duplicate_custom_id", "custom_id", 2),
    (jsonl(line("a"), line("b", COMPLETIONS)), "unsupported_value", "url", 2),
    (jsonl({**line("a"), "method": "GET"}), "invalid_value", "method", 1),
    (jsonl({**line("a"), "custom_id": 7}), "invalid_type", "custom_id", 1),
    (jsonl(line("a", model="other")), "model_not_found", "model", 1),
    (jsonl(line("a", model=None)), "missing_required_parameter", "body.model", 1),
    (jsonl(line("a", model=7)), "invalid_type", "body.model", 1),
    (jsonl(line("a", stream=True)), "unsupported_parameter", "stream", 1),
    (jsonl(line("x" * 600)), "invalid_value", "custom_id", 1),
    (b"", "empty_file", None, None),
    (codecs.BOM_UTF8, "empty_file", None, None),
]


@pytest.mark.parametrize(("data", "code", "param", "number"), BAD_LINES)
async def test_a_bad_line_fails_the_batch_with_its_number(world, data, code, param, number):
    world.hire()
    done = await world.ended(await world.create(data))
    assert done["status"] == "failed"
    [error] = done["errors"]["data"]
    assert (error["code"], error["param"], error["line"]) == (code, param, number)
    assert done["failed_at"] is not None
    assert not world.engine.requests


async def test_a_line_cannot_choose_the_id_of_its_response(world):
    world.hire()
    data = jsonl(line("a", RESPONSES, request_id="mine"))
    done = await world.ended(await world.create(data, RESPONSES))
    [error] = done["errors"]["data"]
    assert (error["code"], error["param"], error["line"]) == (
        "unsupported_parameter", "request_id", 1)  # fmt: skip


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"endpoint": "/v1/embeddings"}, "endpoint"),
        ({"completion_window": "1h"}, "completion_window"),
        ({"input_file_id": "file-none"}, "input_file_id"),
        ({"input_file_id": "\0"}, "input_file_id"),
        ({"metadata": {str(index): "x" for index in range(17)}}, "metadata"),
        ({"output_expires_after": {"anchor": "created_at", "seconds": 1}},
         "output_expires_after.seconds"),
    ],
)  # fmt: skip
async def test_a_bad_field_is_refused_by_name(world, change, param):
    file = await world.upload(jsonl(line("a")))
    body = {"input_file_id": file["id"], "endpoint": CHAT, "completion_window": "24h", **change}
    status, answer = await world.ask("POST", "/v1/batches", json=body)
    assert (status, answer["error"]["param"]) == (400, param)


async def test_a_file_of_another_purpose_is_refused(world):
    file = await world.upload(jsonl(line("a")), purpose="user_data")
    body = {"input_file_id": file["id"], "endpoint": CHAT, "completion_window": "24h"}
    status, answer = await world.ask("POST", "/v1/batches", json=body)
    assert (status, answer["error"]["code"]) == (400, "invalid_file_purpose")


async def cancelled_after_six(world, monkeypatch, *, ends_lines):
    """A batch of 40 lines, cancelled when six are done and others under way.

    Args:
        ends_lines: those under way end as soon as the worker has seen that the batch is cancelled.
    """
    are_under_way, may_end = asyncio.Event(), asyncio.Event()
    original, beat = world.engine.generate, Job.beat

    async def some_then_none(request):
        if len(world.engine.requests) >= 6:
            are_under_way.set()
            await may_end.wait()
        async for deltas in original(request):
            yield deltas

    async def beaten(job, lease_ms):
        is_held = await beat(job, lease_ms)
        if ends_lines and job.row.status == "cancelling":
            may_end.set()
        return is_held

    world.engine.generate = some_then_none
    monkeypatch.setattr(Job, "beat", beaten)
    world.hire()
    batch = await world.create(jsonl(*(line(f"line-{index}") for index in range(40))))
    await are_under_way.wait()
    status, cancelling = await world.ask("POST", f"/v1/batches/{batch['id']}/cancel")
    assert (status, cancelling["status"]) == (200, "cancelling")
    return await world.ended(batch)


async def test_cancelling_lets_lines_under_way_end_and_begins_nothing_more(world, monkeypatch):
    done = await cancelled_after_six(world, monkeypatch, ends_lines=True)
    assert done["status"] == "cancelled"
    counts = done["request_counts"]
    num_under_way = counts["completed"] - 6
    assert 0 < num_under_way <= 2 * world.engine.info.max_num_seqs
    assert len(world.engine.requests) == counts["completed"]
    assert len(await world.results(done["output_file_id"])) == counts["completed"]


async def test_a_cancelled_batch_waits_for_its_lines_so_long_and_no_longer(world, monkeypatch):
    monkeypatch.setattr(running, "GRACE_S", 0.1)
    batch = done = await cancelled_after_six(world, monkeypatch, ends_lines=False)
    assert done["status"] == "cancelled"
    counts = done["request_counts"]
    assert (counts["total"], counts["completed"]) == (40, 6)
    assert len(await world.results(done["output_file_id"])) == 6
    status, answer = await world.ask("POST", f"/v1/batches/{batch['id']}/cancel")
    assert (status, answer["error"]["code"]) == (409, "invalid_batch_status")


async def test_an_expired_batch_says_of_each_line_without_a_turn_that_it_expired(world):
    world.engine.waits_forever = True
    batch = await world.create(jsonl(line("a"), line("b")))
    async with world.storage.database.writing() as session:
        (await session.get_one(BatchRow, batch["id"])).expires_at = batch["created_at"] + 1
    world.hire()
    done = await world.ended(batch)
    assert (done["status"], done["output_file_id"]) == ("expired", None)
    assert done["request_counts"] == {"total": 2, "completed": 0, "failed": 2}
    errors = await world.results(done["error_file_id"])
    assert [(each["custom_id"], each["response"]) for each in errors] == [("a", None), ("b", None)]
    assert errors[0]["error"]["code"] == "batch_expired"


async def test_a_line_waits_while_the_server_is_full(world, monkeypatch):
    monkeypatch.setattr("api.workers.batches.answering.RETRY_S", 0.01)
    original, refusals = world.engine.generate, []

    async def full_at_first(request):
        if len(refusals) < 3:
            refusals.append(request)
            raise OverloadedError("full")
        async for deltas in original(request):
            yield deltas

    world.engine.generate = full_at_first
    world.hire()
    done = await world.ended(await world.create(jsonl(line("a"))))
    assert done["request_counts"] == {"total": 1, "completed": 1, "failed": 0}
    assert len(refusals) == 3


async def test_a_batch_handed_over_goes_on_and_runs_no_line_twice(world, services_world):
    original, begun = world.engine.generate, []

    async def slow(request):
        begun.append(request.request_id)
        await asyncio.sleep(0.02)
        async for deltas in original(request):
            yield deltas

    world.engine.generate = slow
    batch = await world.create(jsonl(*(line(f"line-{index}") for index in range(60))))
    for _ in range(4):
        runner = world.hire()
        await asyncio.sleep(0.15)
        await runner.stop(5.0)
    world.hire()
    done = await world.ended(batch)
    assert done["request_counts"] == {"total": 60, "completed": 60, "failed": 0}
    results = await world.results(done["output_file_id"])
    assert [each["custom_id"] for each in results] == [f"line-{index}" for index in range(60)]
    assert len(begun) == 60


async def test_a_line_whose_result_was_lost_gives_the_response_it_stored(world, monkeypatch):
    monkeypatch.setattr("api.workers.runner.RETRY_S", 0.01)
    keep, losses = running.keep_results, []

    async def lost_at_first(job, group):
        if not losses:
            losses.append(group)
            raise RuntimeError("as if the process was killed")
        await keep(job, group)

    monkeypatch.setattr(running, "keep_results", lost_at_first)
    _, conversation = await world.ask("POST", "/v1/conversations", json={})
    lines = jsonl(line("a", RESPONSES, store=True, conversation=conversation["id"]))
    batch = await world.create(lines, RESPONSES)
    world.hire()
    done = await world.ended(batch)
    [result] = await world.results(done["output_file_id"])
    assert len(losses) == len(world.engine.requests) == 1
    lost = json.loads(losses[0][0].line)
    assert result["response"]["body"] == lost["response"]["body"]
    path = f"/v1/responses/{result['response']['body']['id']}"
    assert (await world.ask("GET", path))[1] == result["response"]["body"]
    _, items = await world.ask("GET", f"/v1/conversations/{conversation['id']}/items")
    assert len(items["data"]) == 2


async def test_a_line_is_tried_again_under_the_same_id_when_its_response_failed(world, monkeypatch):
    monkeypatch.setattr("api.workers.batches.answering.RETRY_S", 0.01)
    original, tries = world.engine.generate, []

    async def ended_by_its_operator_at_first(request):
        tries.append(request)
        world.engine.end_reason = FinishReason.ABORT if len(tries) == 1 else FinishReason.STOP
        async for deltas in original(request):
            yield deltas

    world.engine.generate = ended_by_its_operator_at_first
    world.hire()
    done = await world.ended(await world.create(jsonl(line("a", RESPONSES, store=True)), RESPONSES))
    assert done["request_counts"] == {"total": 1, "completed": 1, "failed": 0}
    assert len(tries) == 2


async def test_two_workers_share_batches_and_each_line_runs_once(world, services_world):
    for _ in range(2):
        world.hire()
    batches = [
        await world.create(jsonl(*(line(f"{name}-{index}") for index in range(15))))
        for name in range(6)
    ]
    for batch in batches:
        done = await world.ended(batch)
        assert done["request_counts"] == {"total": 15, "completed": 15, "failed": 0}
    assert len(world.engine.requests) == 90


async def test_the_input_file_may_be_deleted_while_its_batch_runs(world):
    batch = await world.create(jsonl(line("a"), line("b")))
    assert (await world.ask("DELETE", f"/v1/files/{batch['input_file_id']}"))[1]["deleted"]
    world.hire()
    done = await world.ended(batch)
    assert done["request_counts"]["completed"] == 2
    assert await sweep_files(world.storage) == 1


async def test_lines_ask_the_engine_as_requests_that_can_wait(world):
    batch = await world.create(jsonl(line("a"), line("b")))
    world.hire()
    await world.ended(batch)
    assert [request.can_wait for request in world.engine.requests] == [True, True]
    await world.ask("POST", CHAT, json=line("live")["body"])
    assert not world.engine.requests[-1].can_wait


async def test_beside_live_requests_few_lines_begin(world, monkeypatch):
    monkeypatch.setattr(gates, "QUIET_S", 3600.0)
    gate = LiveFirst(world.state)
    await gate.enter()
    await gate.enter()
    live = RequestState("req_live", "POST", 0.0)
    world.state.admission.request_started(live)
    world.state.admission.count(live)
    third = asyncio.create_task(gate.enter())
    await asyncio.sleep(0.1)
    gate.leave()
    await asyncio.sleep(0.1)
    assert not third.done()
    gate.leave()
    async with asyncio.timeout(10):
        await third
    fourth = asyncio.create_task(gate.enter())
    await asyncio.sleep(0.1)
    assert not fourth.done()
    world.state.admission.request_ended(live)
    await asyncio.sleep(0.1)
    assert not fourth.done(), "the next live request is likely near"
    monkeypatch.setattr(gates, "QUIET_S", 0.0)
    async with asyncio.timeout(10):
        await fourth


async def test_batches_are_listed_in_pages(world):
    made = [(await world.create(jsonl(line("a"))))["id"] for _ in range(3)]
    _, page = await world.ask("GET", "/v1/batches?limit=2")
    assert ([each["id"] for each in page["data"]], page["has_more"]) == (made[:0:-1], True)
    _, page = await world.ask("GET", f"/v1/batches?after={page['last_id']}")
    assert ([each["id"] for each in page["data"]], page["has_more"]) == (made[:1], False)
    status, answer = await world.ask("GET", "/v1/batches?after=zzz")
    assert (status, answer["error"]["param"]) == (400, "after")


async def test_a_file_may_begin_with_the_mark_of_utf_8(world):
    world.hire()
    done = await world.ended(await world.create(codecs.BOM_UTF8 + jsonl(line("a"), line("b"))))
    assert (done["status"], done["request_counts"]["completed"]) == ("completed", 2)


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
async def test_lines_are_the_same_however_the_file_comes_in_pieces(size):
    data = codecs.BOM_UTF8 + b"one\n\n  \ntwo\r\nthree"

    async def pieces():
        for start in range(0, len(data), size):
            yield data[start : start + size]

    assert [each async for each in split_lines(pieces())] == [
        (0, b"one"), (3, b"two\r"), (4, b"three")]  # fmt: skip
