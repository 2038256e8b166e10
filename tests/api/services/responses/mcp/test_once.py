"""A request that may be run again after a crash (a line of a batch, one with an `Idempotency-Key`)
has its calls made by one run."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from api.errors import APIError
from api.services.responses.once import respond_once
from api.storage.ids import derived_id, new_id
from api.storage.tables.mcp_claims import McpClaimRow
from engine.errors import InvalidParameterError, OverloadedError
from tests.api.services.responses.mcp.world import LOOK, kinds


@pytest.fixture
def response_id() -> str:
    """Of what the request makes, however often it is run."""
    return derived_id("response", new_id("batch"), 3)


@pytest.fixture
def run(tool: Any, response_id: str) -> Any:
    """Makes a run of one and the same request."""

    async def make(asker: Any, **fields: Any) -> dict[str, Any]:
        body = {"input": "hi", "tools": [tool()], **fields}
        return orjson.loads((await respond_once(asker.exchange, body, response_id)).body)

    return make


async def killed(mcp_server: Any, work: Any, method: str) -> None:
    """As if its process had died while the server was at this request."""
    task = asyncio.ensure_future(work)
    while method not in mcp_server.methods:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("store", [True, False])
async def test_calls_of_a_run_that_was_killed_are_not_made_again(
    remote: Any, mcp_server: Any, run: Any, store: bool
) -> None:
    mcp_server.delay_s = 30.0
    asker = remote(LOOK)
    await killed(mcp_server, run(asker, store=store), "tools/call")
    mcp_server.delay_s = 0.0
    for _ in range(2):
        with pytest.raises(APIError) as caught:
            await run(asker, store=store)
        assert (caught.value.status, caught.value.code) == (409, "mcp_call_outcome_unknown")
    assert len(mcp_server.calls()) == 1


async def test_of_two_runs_at_once_one_calls(remote: Any, mcp_server: Any, run: Any) -> None:
    mcp_server.delay_s = 0.1
    asker = remote(LOOK, LOOK, "warm", "warm")
    runs = (run(asker, store=False) for _ in range(2))
    found = await asyncio.gather(*runs, return_exceptions=True)
    assert [each.code for each in found if isinstance(each, APIError)] == [
        "mcp_call_outcome_unknown"
    ]
    assert len(mcp_server.calls()) == 1


async def test_a_run_that_was_killed_before_its_calls_makes_room_for_the_next(
    remote: Any, mcp_server: Any, run: Any
) -> None:
    mcp_server.slow_method, mcp_server.delay_s = "tools/list", 30.0
    asker = remote(LOOK, "warm")
    await killed(mcp_server, run(asker), "tools/list")
    mcp_server.delay_s = 0.0
    assert kinds(await run(asker)) == ["mcp_list_tools", "mcp_call", "message"]
    assert await run(asker) == await run(asker)
    assert len(mcp_server.calls()) == 1


async def test_a_run_that_failed_after_its_calls_is_not_run_again(
    remote: Any, mcp_server: Any, run: Any
) -> None:
    asker = remote(LOOK)
    says_once = asker.speaker.engine.generate

    async def generate(request: Any) -> Any:
        if mcp_server.calls():
            raise OverloadedError("full")
        async for deltas in says_once(request):
            yield deltas

    asker.speaker.engine.generate = generate
    with pytest.raises(APIError) as caught:
        await run(asker)
    assert caught.value.status in {429, 503}
    with pytest.raises(APIError) as caught:
        await run(asker)
    assert caught.value.code == "mcp_call_outcome_unknown"
    assert len(mcp_server.calls()) == 1


async def test_a_run_has_the_approval_that_an_earlier_one_took(
    remote: Any, mcp_server: Any, tool: Any, run: Any, response_id: str, storage: Any
) -> None:
    asker = remote(LOOK, "warm")
    tools = [tool(require_approval="always")]
    first = await asker.ask(tools=tools, store=True)
    asked = first["output"][-1]["id"]
    project_id = asker.exchange.project_id
    async with storage.database.writing() as session:
        session.add(McpClaimRow(project_id=project_id, subject_id=asked, response_id=response_id))
    answer = {"type": "mcp_approval_response", "approval_request_id": asked, "approve": True}
    fields = {"tools": tools, "previous_response_id": first["id"]}
    with pytest.raises(InvalidParameterError, match="answered already"):
        await asker.ask([answer], **fields)
    assert kinds(await run(asker, input=[answer], **fields)) == ["mcp_call", "message"]
    assert len(mcp_server.calls()) == 1
