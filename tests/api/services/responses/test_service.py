"""POST /v1/responses: every answer and event must be readable by OpenAI's own types."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from api.errors import APIError
from api.services.responses.tokens import compact, count_input_tokens
from engine.errors import ContextLengthError, InvalidParameterError, OverloadedError
from engine.request import FinishReason

CALL = '<tool_call>\n{"name": "look", "arguments": {"city": "Rome"}}\n</tool_call>'
THOUGHTS = "<think>\nHm, Rome. It is big.\n\nOk.\n</think>\n\n"
EVERYTHING = f"{THOUGHTS}Let me look.\n{CALL}"
LOOK = {"type": "function", "name": "look", "parameters": {"type": "object"}}
SHELL = {"type": "custom", "name": "shell"}


async def test_thoughts_text_and_calls_are_items(asking: Any) -> None:
    response = await asking(EVERYTHING).read(tools=[LOOK], metadata={"a": "b"})
    reasoning, message, call = response.output
    assert reasoning.content[0].text == "Hm, Rome. It is big.\n\nOk."
    assert (message.role, message.content[0].text.strip()) == ("assistant", "Let me look.")
    assert (call.type, call.name, json.loads(call.arguments)) == (
        "function_call", "look", {"city": "Rome"},
    )  # fmt: skip
    assert call.call_id.startswith("call_")
    assert [item.id[: item.id.index("_")] for item in response.output] == ["rs", "msg", "fc"]
    assert (response.status, response.metadata) == ("completed", {"a": "b"})
    assert response.completed_at is not None


async def test_usage_has_cached_and_reasoning_tokens(asking: Any) -> None:
    asker = asking(EVERYTHING)
    usage = (await asker.read(tools=[LOOK])).usage
    assert usage.input_tokens == len(asker.prompt())
    assert usage.input_tokens_details.cached_tokens == 2
    assert usage.output_tokens_details.reasoning_tokens > 10
    assert usage.total_tokens == usage.input_tokens + usage.output_tokens


@pytest.mark.parametrize("per_delta", [1, 3, 1000])
@pytest.mark.parametrize("fields", [{}, {"include": ["message.output_text.logprobs"]}])
async def test_a_stream_adds_up_to_the_whole_answer(
    asking: Any, fields: dict[str, Any], per_delta: int
) -> None:
    asker = asking(EVERYTHING)
    whole = await asker.ask(tools=[LOOK], **fields)
    asker.speaker.engine.tokens_per_delta = per_delta
    events = await asker.stream(tools=[LOOK], **fields)
    last = events[-1]
    assert last["type"] == "response.completed"

    def comparable(response: dict[str, Any]) -> dict[str, Any]:
        items = [
            {k: v for k, v in item.items() if k not in {"id", "call_id"}}
            for item in response["output"]
        ]
        changing = {"id", "created_at", "completed_at"}
        return {k: v for k, v in response.items() if k not in changing} | {"output": items}

    assert comparable(last["response"]) == comparable(whole)
    done = [e["item"] for e in events if e["type"] == "response.output_item.done"]
    assert done == last["response"]["output"]


async def test_numbers_have_no_gaps_and_the_order_is_the_enforced_one(
    asking: Any, sdk_events: Any
) -> None:
    events = await asking(EVERYTHING).stream(tools=[LOOK])
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    kinds = [event["type"].removeprefix("response.") for event in events]
    assert kinds[:2] == ["created", "in_progress"]
    assert list(dict.fromkeys(kinds[2:])) == [
        "output_item.added", "content_part.added", "reasoning_text.delta", "reasoning_text.done",
        "content_part.done", "output_item.done", "output_text.delta", "output_text.done",
        "function_call_arguments.delta", "function_call_arguments.done", "completed",
    ]  # fmt: skip
    assert kinds.count("completed") == 1
    for event in events:
        read = sdk_events.validate_python(event)
        assert read.type == event["type"]


async def test_deltas_join_to_what_done_says(asking: Any) -> None:
    events = await asking(EVERYTHING).stream(tools=[LOOK])
    for kind, field in (
        ("reasoning_text", "text"),
        ("output_text", "text"),
        ("function_call_arguments", "arguments"),
    ):
        deltas = [e["delta"] for e in events if e["type"] == f"response.{kind}.delta"]
        (done,) = [e[field] for e in events if e["type"] == f"response.{kind}.done"]
        assert "".join(deltas) == done


async def test_a_custom_tool_gets_text(asking: Any) -> None:
    text = '<tool_call>\n{"name": "shell", "arguments": {"input": "ls -l"}}\n</tool_call>'
    response = await asking(text).read(tools=[SHELL])
    (call,) = response.output
    assert (call.type, call.input) == ("custom_tool_call", "ls -l")
    kinds = {event["type"] for event in await asking(text).stream(tools=[SHELL])}
    assert "response.custom_tool_call_input.done" in kinds


async def test_a_limit_makes_the_last_item_and_the_response_incomplete(asking: Any) -> None:
    response = await asking(EVERYTHING).read(max_output_tokens=8)
    assert (response.status, response.incomplete_details.reason) == (
        "incomplete", "max_output_tokens",
    )  # fmt: skip
    assert response.output[-1].status == "incomplete"
    events = await asking(EVERYTHING).stream(max_output_tokens=8)
    assert events[-1]["type"] == "response.incomplete"


async def test_an_answer_of_nothing_is_an_empty_message(asking: Any) -> None:
    (message,) = (await asking("").read()).output
    assert message.content[0].text == ""


async def test_a_failure_in_the_middle_is_told_and_ends_the_stream(asking: Any) -> None:
    asker = asking("hello world, hello there")
    asker.speaker.engine.failure = RuntimeError("a secret")
    asker.speaker.engine.failure_after = 3
    events = await asker.stream()
    assert [event["type"] for event in events[-2:]] == ["error", "response.failed"]
    response = events[-1]["response"]
    assert response["status"] == "failed"
    assert "secret" not in json.dumps(events)
    assert response["usage"]["output_tokens"] == 3
    assert "error" not in events[-2]  # a member of that name makes the SDKs raise
    with pytest.raises(APIError) as caught:
        await asker.ask()
    assert caught.value.status == 500


@pytest.mark.parametrize("stream", [False, True])
async def test_a_refusal_comes_before_any_event(asking: Any, stream: bool) -> None:
    asker = asking("hello")
    asker.speaker.engine.failure = OverloadedError("full")
    with pytest.raises(OverloadedError):
        await asker.answer({"input": "hi", "stream": stream})


async def test_an_operators_abort_is_no_success(asking: Any) -> None:
    asker = asking("hello world")
    asker.speaker.engine.end_reason = FinishReason.ABORT
    events = await asker.stream()
    assert events[-2]["code"] == "request_aborted"
    assert events[-1]["response"]["error"]["code"] == "server_error"  # OpenAI's clients know it


async def test_a_summary_that_an_operator_ended_is_none(asking: Any) -> None:
    asker = asking("hello world")
    asker.speaker.engine.end_reason = FinishReason.ABORT
    with pytest.raises(APIError) as caught:
        await compact(asker.exchange, {"model": "test-model", "input": "hi"})
    assert (caught.value.status, caught.value.code) == (503, "request_aborted")


async def test_a_client_that_leaves_aborts_the_engine(asking: Any) -> None:
    asker = asking("hello world")
    asker.speaker.engine.tokens_per_delta = 1
    answer = await asker.answer({"input": "hi", "stream": True})
    await anext(answer.events)
    await answer.events.aclose()
    assert len(asker.speaker.engine.closed) == 1
    unread = await asker.answer({"input": "hi", "stream": True})
    await unread.events.aclose()
    assert len(asker.speaker.engine.closed) == 2


async def test_instructions_come_first(asking: Any) -> None:
    asker = asking("hello")
    await asker.ask("hi", instructions="Be short.")
    text = asker.speaker.context.tokenizer.decode(asker.prompt(), skip_special_tokens=False)
    assert text.startswith("<|system|>Be short.<|user|>hi")


async def test_fields_reach_the_engine(asking: Any) -> None:
    asker = asking("hello")
    await asker.ask(
        temperature=0.5, top_p=0.5, seed=7, top_k=3, stop=["x"], priority=0, min_tokens=2,
        prompt_cache_key="k", cache_salt="s", max_output_tokens=9,
    )  # fmt: skip
    request = asker.speaker.engine.requests[0]
    sampling = request.sampling
    assert (sampling.temperature, sampling.top_p, sampling.seed) == (0.5, 0.5, 7)
    assert (sampling.top_k, sampling.min_tokens, sampling.max_tokens) == (3, 2, 9)
    assert "k" in request.cache_salt
    assert "s" in request.cache_salt


async def test_a_format_constrains(asking: Any) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    asker = asking("{}")
    form = {"type": "json_schema", "name": "x", "schema": schema, "strict": True}
    await asker.ask(text={"format": form})
    assert asker.speaker.engine.requests[0].grammar is not None


async def test_logprobs_are_those_of_the_text(asking: Any) -> None:
    response = await asking(f"{THOUGHTS}Rome").read(top_logprobs=2)
    content = response.output[-1].content[0]
    assert "".join(entry.token for entry in content.logprobs).strip() == "Rome"
    assert all(len(entry.top_logprobs) == 2 for entry in content.logprobs)


async def test_a_summary_is_made_of_the_thoughts(asking: Any) -> None:
    asker = asking(EVERYTHING)
    detailed = await asker.read(tools=[LOOK], reasoning={"summary": "detailed"})
    assert [part.text for part in detailed.output[0].summary] == ["Hm, Rome. It is big.", "Ok."]
    concise = await asker.read(tools=[LOOK], reasoning={"summary": "concise"})
    assert [part.text for part in concise.output[0].summary] == ["Hm, Rome.", "Ok."]
    kinds = {e["type"] for e in await asker.stream(tools=[LOOK], reasoning={"summary": "auto"})}
    assert "response.reasoning_summary_part.done" in kinds
    assert "response.reasoning_summary_text.delta" in kinds


async def test_sealed_thoughts_come_back_as_thoughts(asking: Any) -> None:
    asker = asking(f"{THOUGHTS}Rome")
    include = ["reasoning.encrypted_content"]
    first = await asker.ask("Where?", include=include)
    reasoning, message = first["output"]
    turn = [
        {"role": "user", "content": "Where?"},
        reasoning,
        message,
        {"role": "user", "content": "?"},
    ]
    await asker.ask(turn)
    with_content = asker.prompt()
    bare = {k: v for k, v in reasoning.items() if k != "content"}
    await asker.ask([turn[0], bare, *turn[2:]])
    assert asker.prompt() == with_content
    bad = bare | {"encrypted_content": reasoning["encrypted_content"][:-4] + "AAAA"}
    with pytest.raises(InvalidParameterError) as caught:
        await asker.ask([turn[0], bad, *turn[2:]])
    assert caught.value.param == "input[1].encrypted_content"


async def test_raw_messages_are_shown_when_asked_for(asking: Any) -> None:
    asker = asking("hello world")
    response = await asker.ask(enable_response_messages=True)
    (given,), (made,) = response["input_messages"], response["output_messages"]
    assert tuple(given["tokens"]) == asker.prompt()
    assert (made["message"], made["type"]) == ("hello world", "raw_message_tokens")


async def test_truncation_drops_the_oldest_turns_and_keeps_what_the_system_said(
    asking: Any,
) -> None:
    asker = asking("hello")
    turns = [
        {"role": role, "content": f"turn {index} " + "one two three " * 40}
        for index in range(40)
        for role in ("user", "assistant")
    ]
    items = [{"role": "system", "content": "Rules."}, *turns, {"role": "user", "content": "Last?"}]
    with pytest.raises(ContextLengthError):
        await asker.ask(items, max_output_tokens=100)
    response = await asker.ask(items, max_output_tokens=100, truncation="auto")
    text = asker.speaker.context.tokenizer.decode(asker.prompt(), skip_special_tokens=False)
    assert text.startswith("<|system|>Rules.<|user|>turn ")
    assert "<|user|>Last?" in text
    assert "turn 0 " not in text
    assert response["usage"]["input_tokens"] + 100 <= 4096
    assert response["usage"]["input_tokens"] > 3000


async def test_truncation_drops_earlier_messages_before_items(asking: Any) -> None:
    asker = asking("hello")
    turns = [{"role": "user", "content": f"turn {index} " + "one two " * 300} for index in range(9)]
    earlier = [{"role": "system", "content": "Rules."}, *turns]
    fields = {"previous_input_messages": earlier, "truncation": "auto"}
    await asker.ask("Last?", **fields)
    text = asker.speaker.context.tokenizer.decode(asker.prompt(), skip_special_tokens=False)
    assert text.startswith("<|system|>Rules.<|user|>turn ")
    assert "turn 8 " in text
    assert "<|user|>Last?" in text
    assert "turn 0 " not in text


async def test_a_truncated_prompt_is_counted_as_it_is_made(asking: Any) -> None:
    asker = asking("hello")
    items = [{"role": "user", "content": f"turn {index} " + "one two " * 300} for index in range(9)]
    whole, cut = [
        json.loads((await count_input_tokens(asker.exchange, {"input": items, **fields})).body)
        for fields in ({}, {"truncation": "auto"})
    ]
    await asker.ask(items, truncation="auto")
    assert whole["input_tokens"] > 4096
    assert cut["input_tokens"] == len(asker.prompt())
    last = [{"role": "user", "content": "one two " * 4096}]
    with pytest.raises(ContextLengthError):
        await count_input_tokens(asker.exchange, {"input": last, "truncation": "auto"})


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tools": [LOOK, {"type": "code_interpreter", "container": {}}]}, "tools[1].type"),
        ({"tools": [{"type": "mcp", "server_label": "x"}]}, "tools[0].server_url"),
        ({"tool_choice": {"type": "file_search"}}, "tool_choice.type"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
        ({"context_management": [{"type": "compaction"}]}, "context_management"),
        ({"reasoning": {"mode": "pro"}}, "reasoning.mode"),
        ({"input": [{"type": "web_search_call", "id": "x"}]}, "input[0].type"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]},
            "input[0].content[0].type",
        ),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"input": []}, "input"),
        ({"input": None}, "input"),
        ({"input": [{"type": "function_call", "name": "x"}]}, "input[0].call_id"),
        ({"stream_options": {"include_obfuscation": True}}, "stream_options"),
        ({"background": True}, "background"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": [LOOK, LOOK]}, "tools[1].name"),
        ({"tools": [LOOK], "tool_choice": {"type": "function", "name": "x"}}, "tool_choice"),
        ({"text": {"format": {"type": "json_schema", "name": "x"}}}, "text.format.schema"),
        (
            {"text": {"format": {"type": "json_schema", "name": "x", "schema": {"type": "x"}}}},
            "text.format.schema",
        ),
        ({"reasoning": {"effort": "huge"}}, "reasoning.effort"),
        ({"include": ["everything"]}, "include[0]"),
        ({"event_dialect": "martian"}, "event_dialect"),
        ({"request_id": "a b"}, "request_id"),
        ({"request_id": "a" * 126}, "request_id"),
        ({"request_id": "resp_" + "0123456789abcdef" * 3}, "request_id"),
        ({"request_id": "mine_of_0123456789abcdef"}, "request_id"),
        ({"tool_outputs_mode": "hold"}, "tool_outputs_mode"),
        ({"temperature": 9.0}, "temperature"),
    ],
)
async def test_what_cannot_be_is_refused_by_name(
    asking: Any, fields: dict[str, Any], param: str
) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        await asking("hello").ask(
            **({"given": fields.pop("input")} if "input" in fields else {}), **fields
        )
    assert caught.value.param == param


async def test_a_wrong_model_is_not_found(asking: Any) -> None:
    with pytest.raises(APIError) as caught:
        await asking("hello").ask(model="gpt-x")
    assert (caught.value.status, caught.value.param) == (404, "model")


async def test_many_at_once_do_not_mix(asking: Any) -> None:
    asker = asking("hello world")
    answers = await asyncio.gather(*(asker.ask(f"hi {index}") for index in range(20)))
    assert len({answer["id"] for answer in answers}) == 20


async def test_a_wrong_type_of_item_is_told_all_that_there_are(asking: Any) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        await asking("hello").ask([{"type": "nothing"}])
    assert caught.value.message.endswith("or 'item_reference'.")
