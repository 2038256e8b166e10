"""What tools gave, by continuation and in a stream that is held."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from api.errors import APIError
from api.protocol.responses.queries import RetrieveQuery
from api.services.requests import Answer
from api.services.responses import holding
from api.services.responses.stored import retrieval
from api.services.responses.tool_outputs import give_outputs
from engine.errors import InvalidParameterError, OverloadedError

CALL = '<tool_call>\n{{"name": "look", "arguments": {{"city": "{}"}}}}\n</tool_call>'
TWO_CALLS = f"{CALL.format('Rome')}\n{CALL.format('Oslo')}"
LOOK = {"type": "function", "name": "look", "parameters": {"type": "object"}}


@pytest.fixture
def asker(asking: Any, storage: Any) -> Any:
    made = asking(TWO_CALLS)
    made.storage, made.store = storage, True
    return made


async def give(asker: Any, response_id: str, **body: Any) -> Any:
    answer = await give_outputs(asker.exchange, response_id, body)
    return json.loads(answer.body) if answer.events is None else answer


async def called(asker: Any, **fields: Any) -> tuple[str, list[str]]:
    response = await asker.ask(tools=[LOOK], **fields)
    return response["id"], [item["call_id"] for item in response["output"]]


def says(asker: Any, text: str) -> None:
    asker.speaker.engine.texts = (text,)


async def test_outputs_are_collected_until_the_last_one_goes_on(asker: Any) -> None:
    response_id, (first, second) = await called(asker, instructions="Be short.", seed=5)
    says(asker, "warm and cold")
    partly = await give(asker, response_id, tool_call_id=first, output="30 C")
    assert (partly["id"], partly["status"]) == (response_id, "in_progress")
    assert len(asker.speaker.engine.requests) == 1
    later = await give(asker, response_id, tool_call_id=second, output="-3 C")
    assert later["previous_response_id"] == response_id
    assert (later["status"], later["instructions"]) == ("completed", "Be short.")
    assert later["output"][0]["content"][0]["text"] == "warm and cold"
    request = asker.speaker.engine.requests[-1]
    assert request.sampling.seed == 5
    outputs = [
        {"type": "function_call_output", "call_id": call_id, "output": output}
        for call_id, output in ((first, "30 C"), (second, "-3 C"))
    ]
    await asker.ask(
        outputs, previous_response_id=response_id, tools=[LOOK], instructions="Be short."
    )
    assert asker.prompt() == request.prompt_token_ids


async def test_all_at_once_and_streamed(asker: Any) -> None:
    response_id, (first, second) = await called(asker)
    says(asker, "done")
    outputs = [
        {"call_id": second, "output": [{"type": "input_text", "text": "-3 C"}]},
        {"tool_call_id": first, "output": "30 C"},
    ]
    answer: Answer = await give(asker, response_id, tool_outputs=outputs, stream=True)
    assert answer.events is not None
    sent = b"".join([event async for event in answer.events])
    assert b"event: response.completed" in sent
    assert sent.endswith(b"data: [DONE]\n\n")


async def test_a_forced_call_is_not_forced_again(asker: Any) -> None:
    says(asker, CALL.format("Rome"))
    response_id, (only,) = await called(asker, tool_choice="required")
    says(asker, "done")
    later = await give(asker, response_id, tool_call_id=only, output="x")
    assert later["tool_choice"] == "auto"


async def test_it_goes_on_once(asker: Any) -> None:
    response_id, calls = await called(asker)
    outputs = [{"call_id": call_id, "output": "x"} for call_id in calls]
    await give(asker, response_id, tool_outputs=outputs)
    with pytest.raises(APIError) as caught:
        await give(asker, response_id, tool_outputs=outputs)
    assert caught.value.status == 409


async def gone_on(asker: Any, response_id: str, calls: list[str], count: int) -> list[Any]:
    """Asks to go on so many times at once; status codes of refusals, and what was made."""
    outputs = [{"call_id": call_id, "output": "x"} for call_id in calls]
    tries = (give(asker, response_id, tool_outputs=outputs) for _ in range(count))
    found = await asyncio.gather(*tries, return_exceptions=True)
    return [each.status if isinstance(each, APIError) else each for each in found]


async def test_of_many_at_once_one_goes_on(asker: Any) -> None:
    response_id, calls = await called(asker)
    says(asker, "done")
    found = await gone_on(asker, response_id, calls, 4)
    assert found.count(409) == 3
    (made,) = [each for each in found if each != 409]
    assert made["status"] == "completed"
    assert await gone_on(asker, response_id, calls, 1) == [409]


async def test_of_many_at_once_one_goes_on_after_a_continuation_that_failed(asker: Any) -> None:
    response_id, calls = await called(asker)
    asker.speaker.engine.failure = OverloadedError("full")
    asker.speaker.engine.failure_after = 1
    with pytest.raises(APIError):
        await give(
            asker,
            response_id,
            tool_outputs=[{"call_id": call_id, "output": "x"} for call_id in calls],
        )
    asker.speaker.engine.failure = None
    says(asker, "done")
    found = await gone_on(asker, response_id, calls, 4)
    assert found.count(409) == 3


async def test_a_continuation_that_its_client_left_can_be_asked_for_again(asker: Any) -> None:
    response_id, calls = await called(asker)
    outputs = [{"call_id": call_id, "output": "x"} for call_id in calls]
    says(asker, "a long story")
    answer = await give(asker, response_id, tool_outputs=outputs, stream=True)
    assert await gone_on(asker, response_id, calls, 1) == [409]
    await answer.events.aclose()
    (again,) = await gone_on(asker, response_id, calls, 1)
    assert again["status"] == "completed"


async def test_a_continuation_that_could_not_begin_can_be_asked_for_again(asker: Any) -> None:
    response_id, calls = await called(asker)
    outputs = [{"call_id": call_id, "output": "x"} for call_id in calls[:1]]
    await give(asker, response_id, tool_outputs=outputs)
    asker.speaker.engine.failure = OverloadedError("full")
    last = {"call_id": calls[1], "output": "y"}
    with pytest.raises(OverloadedError):
        await give(asker, response_id, tool_outputs=[last])
    asker.speaker.engine.failure = None
    says(asker, "done")
    # what was given is kept; the client may say it again or not
    assert (await give(asker, response_id, tool_outputs=[last]))["status"] == "completed"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"tool_call_id": "call_x", "output": "1"}, "tool_call_id"),
        ({"tool_outputs": [{"call_id": "call_x", "output": "1"}]}, "tool_outputs[0].tool_call_id"),
        ({"tool_outputs": []}, "tool_outputs"),
        ({"tool_call_id": "x"}, "output"),
        ({"output": "x"}, "tool_call_id"),
        ({"tool_outputs": [{"output": "x"}]}, "tool_outputs[0]"),
        ({"tool_call_id": "x", "output": 1}, "output"),
        ({"tool_call_id": "x", "call_id": "y", "output": "1"}, "body"),
        (
            {"tool_outputs": [{"tool_call_id": "x", "call_id": "x", "output": "1"}]},
            "tool_outputs[0]",
        ),
        ({"tool_outputs": [{"call_id": "x", "output": "1"}], "output": "2"}, "body"),
    ],
)
async def test_what_fits_no_call_is_refused_by_name(
    asker: Any, body: dict[str, Any], param: str
) -> None:
    response_id, _ = await called(asker)
    with pytest.raises(InvalidParameterError) as caught:
        await give(asker, response_id, **body)
    assert caught.value.param == param


async def test_an_output_is_given_once(asker: Any) -> None:
    response_id, (first, _) = await called(asker)
    await give(asker, response_id, tool_call_id=first, output="30 C")
    with pytest.raises(InvalidParameterError) as caught:
        await give(asker, response_id, tool_call_id=first, output="31 C")
    assert caught.value.param == "tool_call_id"


async def test_a_response_without_calls_takes_no_outputs(asker: Any) -> None:
    says(asker, "hello")
    made = await asker.ask()
    with pytest.raises(InvalidParameterError):
        await give(asker, made["id"], tool_call_id="call_x", output="x")
    with pytest.raises(APIError) as caught:
        await give(asker, "resp_none", tool_call_id="call_x", output="x")
    assert caught.value.status == 404


class Held:
    """A stream that is held, read in the background."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.events: list[dict[str, Any]] = []
        self.raw = b""
        self.task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self._answer.events is not None
        async for sent in self._answer.events:
            self.raw += sent
            for line in sent.decode().split("\n"):
                if line.startswith("data: {"):
                    self.events.append(json.loads(line.removeprefix("data: ")))

    async def calls(self, count: int) -> list[str]:
        """Ids of calls that were made, when there are so many."""
        async with asyncio.timeout(10):
            while len(ids := self._call_ids()) < count:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        return ids

    def _call_ids(self) -> list[str]:
        return [
            event["item"]["call_id"]
            for event in self.events
            if event["type"] == "response.output_item.done"
            and event["item"]["type"] == "function_call"
        ]

    @property
    def response_id(self) -> str:
        return self.events[0]["response"]["id"]


async def hold(asker: Any, **fields: Any) -> Held:
    body = {"input": "hi", "tools": [LOOK], "stream": True, "tool_outputs_mode": "hold", **fields}
    return Held(await asker.answer(body))


async def test_a_held_stream_goes_on_with_the_outputs(asker: Any) -> None:
    held = await hold(asker)
    first, second = await held.calls(2)
    await asyncio.sleep(0.2)
    assert not held.task.done()
    shown = await retrieval.retrieve(asker.exchange, held.response_id, RetrieveQuery())
    assert shown["status"] == "in_progress"
    assert [item["call_id"] for item in shown["output"]] == [first, second]
    says(asker, CALL.format("Bonn"))
    assert (await give(asker, held.response_id, tool_call_id=second, output="-3 C"))[
        "status"
    ] == "in_progress"
    await give(asker, held.response_id, tool_call_id=first, output="30 C")
    (*_, third) = await held.calls(3)
    assert len({first, second, third}) == 3
    says(asker, "warm and cold")
    await give(asker, held.response_id, tool_call_id=third, output="9 C")
    await asyncio.wait_for(held.task, 10)
    assert [event["sequence_number"] for event in held.events] == list(range(len(held.events)))
    ends = [e for e in held.events if e["type"] == "response.completed"]
    assert held.events[-1:] == ends
    output = ends[0]["response"]["output"]
    assert [item["type"] for item in output] == [
        "function_call", "function_call", "function_call_output", "function_call_output",
        "function_call", "function_call_output", "message",
    ]  # fmt: skip
    assert [item["output"] for item in output if "output" in item] == ["30 C", "-3 C", "9 C"]
    added = [e["item"]["id"] for e in held.events if e["type"] == "response.output_item.added"]
    assert added == [item["id"] for item in output]
    usage = ends[0]["response"]["usage"]
    prompts = [len(request.prompt_token_ids) for request in asker.speaker.engine.requests]
    assert (len(prompts), usage["input_tokens"]) == (3, sum(prompts))


async def test_a_held_stream_takes_outputs_once_however_quickly_they_come_again(
    asker: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr(holding, "POLL_S", 0.3)
    held = await hold(asker)
    calls = await held.calls(2)
    says(asker, "warm")
    given = [{"tool_call_id": call_id, "output": "1"} for call_id in calls]
    await give(asker, held.response_id, tool_outputs=given)
    with pytest.raises(APIError) as caught:
        await give(asker, held.response_id, tool_outputs=given)
    assert (caught.value.status, caught.value.code) == (409, "conflict")
    await asyncio.wait_for(held.task, 10)


async def test_a_held_stream_and_a_continuation_make_the_same_prompt(asker: Any) -> None:
    held = await hold(asker)
    calls = await held.calls(2)
    says(asker, "done")
    outputs = [{"call_id": call_id, "output": "x"} for call_id in calls]
    await give(asker, held.response_id, tool_outputs=outputs)
    await asyncio.wait_for(held.task, 10)
    says(asker, TWO_CALLS)
    response_id, again = await called(asker)
    says(asker, "done")
    outputs = [{"call_id": call_id, "output": "x"} for call_id in again]
    await give(asker, response_id, tool_outputs=outputs)
    assert len(asker.prompt(1)) == len(asker.prompt(3))
    stored = await retrieval.retrieve(asker.exchange, held.response_id, RetrieveQuery())
    assert stored == held.events[-1]["response"]


@pytest.mark.parametrize("num_more", [0, 2])
async def test_a_held_stream_has_one_bound_of_tokens(asker: Any, num_more: int) -> None:
    limit = len(asker.speaker.context.tokenizer.encode(TWO_CALLS)) + 1 + num_more
    held = await hold(asker, max_output_tokens=limit)
    calls = await held.calls(2)
    says(asker, "It is warm today.")
    if num_more:
        outputs = [{"call_id": call_id, "output": "x"} for call_id in calls]
        await give(asker, held.response_id, tool_outputs=outputs)
    await asyncio.wait_for(held.task, 10)
    response = held.events[-1]["response"]
    assert response["incomplete_details"] == {"reason": "max_output_tokens"}
    assert response["usage"]["output_tokens"] == limit


async def test_a_held_stream_says_that_it_lives_and_gives_up_in_the_end(
    asker: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr(holding, "KEEP_ALIVE_S", 0.05)
    monkeypatch.setattr(holding, "TIMEOUT_S", 0.4)
    monkeypatch.setattr(holding, "POLL_S", 0.02)
    held = await hold(asker)
    await asyncio.wait_for(held.task, 10)
    assert held.raw.count(b": keep-alive\n\n") >= 2
    response = held.events[-1]["response"]
    assert response["incomplete_details"] == {"reason": "tool_outputs_timeout"}
    says(asker, "done")
    calls = [item["call_id"] for item in response["output"]]
    outputs = [{"call_id": call_id, "output": "x"} for call_id in calls]
    later = await give(asker, held.response_id, tool_outputs=outputs)
    assert later["previous_response_id"] == held.response_id


async def test_a_held_stream_fails_when_the_server_ends(asker: Any) -> None:
    held = await hold(asker)
    await held.calls(2)
    asker.speaker.context.ending.set()
    await asyncio.wait_for(held.task, 10)
    assert [event["type"] for event in held.events[-2:]] == ["error", "response.failed"]
    assert held.events[-2]["code"] == "server_shutting_down"
    ended = held.events[-1]["response"]
    assert (ended["status"], ended["error"]["code"]) == ("failed", "server_error")
    stored = await retrieval.retrieve(asker.exchange, held.response_id, RetrieveQuery())
    assert stored == ended


async def test_a_client_that_leaves_a_held_stream_ends_it(asker: Any) -> None:
    answer = await asker.answer(
        {"input": "hi", "tools": [LOOK], "stream": True, "tool_outputs_mode": "hold"}
    )
    held = Held(answer)
    await held.calls(2)
    held.task.cancel()
    await asyncio.gather(held.task, return_exceptions=True)
    await answer.events.aclose()  # type: ignore[union-attr]
    stored = await retrieval.retrieve(asker.exchange, held.response_id, RetrieveQuery())
    assert stored["status"] == "cancelled"
    assert len(stored["output"]) == 2
