"""Anthropic's Messages API: their own types must be able to read every answer and event."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from anthropic.types import Message, RawMessageStreamEvent
from pydantic import TypeAdapter

from api.app import create_app
from api.model.formats import ModelFormats
from api.parsers.reasoning import REASONING_PARSERS
from api.parsers.tools import TOOL_PARSERS
from api.services.anthropic.conversion import chat_body
from api.services.anthropic.service import count_tokens, create_message
from engine.request import FinishReason

TEMPLATE = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}"
    "{% if tools %}{{ tools | tojson }}{% endif %}{{ enable_thinking }}"
)
BOTH = ModelFormats(tools=TOOL_PARSERS["hermes"], reasoning=REASONING_PARSERS["qwen3"])
CALL = '<tool_call>\n{"name": "look", "arguments": {"city": "Rome"}}\n</tool_call>'
EVERYTHING = f"<think>\nHm, Rome.\n</think>\n\nLet me look.\n{CALL}"
LOOK = {"name": "look", "input_schema": {"type": "object"}, "description": "See a city."}
THINKING = {"type": "enabled"}
ASK: dict[str, Any] = {
    "model": "test-model",
    "max_tokens": 512,
    "messages": [{"role": "user", "content": "hi"}],
}
EVENTS: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)


@pytest.fixture
def saying(speaking: Any) -> Any:
    def make(text: str, **options: Any) -> Any:
        speaker = speaking(text, template=TEMPLATE, formats=BOTH, **options)
        speaker.engine.info = msgspec.structs.replace(speaker.engine.info, max_model_len=2048)
        speaker.engine.ends_with_eos = True
        return speaker

    return make


async def message(speaker: Any, **fields: Any) -> Message:
    answer = await create_message(speaker.context, {**ASK, **fields}, "r")
    return Message.model_validate_json(answer.body)


async def events(speaker: Any, **fields: Any) -> list[Any]:
    answer = await create_message(speaker.context, {**ASK, "stream": True, **fields}, "r")
    text = b"".join([event async for event in answer.events]).decode()
    found = []
    for lines in text.removesuffix("\n\n").split("\n\n"):
        name, data = lines.split("\n")
        event = json.loads(data.removeprefix("data: "))
        assert event["type"] == name.removeprefix("event: ")
        found.append(EVENTS.validate_python(event) if event["type"] != "error" else event)
    return found


async def test_thoughts_text_and_calls_are_blocks(saying: Any) -> None:
    answer = await message(saying(EVERYTHING), tools=[LOOK], thinking=THINKING)
    assert [block.type for block in answer.content] == ["thinking", "text", "tool_use"]
    thinking, text, call = answer.content
    assert thinking.thinking.strip() == "Hm, Rome."  # type: ignore[union-attr]
    assert text.text.strip() == "Let me look."  # type: ignore[union-attr]
    assert (call.name, call.input) == ("look", {"city": "Rome"})  # type: ignore[union-attr]
    assert (answer.id, answer.stop_reason) == ("msg_r", "tool_use")


async def test_a_stream_adds_up_to_the_whole_answer(saying: Any) -> None:
    whole = await message(saying(EVERYTHING), tools=[LOOK], thinking=THINKING)
    found = await events(saying(EVERYTHING), tools=[LOOK], thinking=THINKING)
    assert [found[0].type, found[-2].type, found[-1].type] == [
        "message_start", "message_delta", "message_stop",
    ]  # fmt: skip
    blocks = [event.content_block for event in found if event.type == "content_block_start"]
    assert [block.type for block in blocks] == [block.type for block in whole.content]
    texts = ["" for _ in blocks]
    for event in found:
        if event.type == "content_block_delta":
            delta = event.delta
            kind = {"thinking_delta": "thinking", "text_delta": "text"}.get(delta.type)
            texts[event.index] += getattr(delta, kind or "partial_json")
    assert texts[:2] == [whole.content[0].thinking, whole.content[1].text]  # type: ignore[union-attr]
    assert json.loads(texts[2]) == whole.content[2].input  # type: ignore[union-attr]
    assert found[-2].delta.stop_reason == whole.stop_reason
    assert found[-2].usage.output_tokens == whole.usage.output_tokens
    stops = [event.index for event in found if event.type == "content_block_stop"]
    assert stops == list(range(len(blocks)))


async def test_cached_tokens_are_told_apart(saying: Any) -> None:
    answer = await message(saying("hello"))
    total = len(await prompt_ids(saying("hello")))
    assert answer.usage.cache_read_input_tokens == 2
    assert answer.usage.input_tokens == total - 2


async def prompt_ids(speaker: Any, **fields: Any) -> tuple[int, ...]:
    await message(speaker, **fields)
    return speaker.engine.requests[0].prompt_token_ids


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"system": "Be short.", "tools": [LOOK], "thinking": {"type": "disabled"}},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]},
    ],
)
async def test_counted_tokens_are_those_of_the_prompt(saying: Any, fields: dict[str, Any]) -> None:
    speaker = saying("hello")
    body = {name: value for name, value in {**ASK, **fields}.items() if name != "max_tokens"}
    answer = json.loads((await count_tokens(speaker.context, body)).body)
    counted = answer["input_tokens"]
    assert answer["context_management"] == {"original_input_tokens": counted}
    assert counted == len(await prompt_ids(speaker, **fields))


async def test_a_stop_sequence_and_the_limit_are_told(saying: Any) -> None:
    stopped = await message(saying("one two three"), stop_sequences=["two"])
    assert (stopped.stop_reason, stopped.stop_sequence) == ("stop_sequence", "two")
    assert (await message(saying("hello"))).stop_reason == "end_turn"
    speaker = saying("hello world")
    speaker.engine.ends_with_eos = False
    assert (await message(speaker)).stop_reason == "max_tokens"


def test_turns_with_calls_and_results_become_chat_messages(saying: Any) -> None:
    from api.protocol.anthropic import MessagesRequest

    turns = [
        {"role": "user", "content": "Where?"},
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "Hm.", "signature": ""},
            {"type": "redacted_thinking", "data": "x"},
            {"type": "text", "text": "Looking."},
            {"type": "tool_use", "id": "a", "name": "look", "input": {"city": "Rome"}},
        ]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "a", "content": "sun"},
            {"type": "tool_result", "tool_use_id": "b", "is_error": True,
             "content": [{"type": "text", "text": "gone"}]},
            {"type": "text", "text": "And now?"},
        ]},
    ]  # fmt: skip
    body = chat_body(MessagesRequest.model_validate({**ASK, "messages": turns}), None)
    function = {"name": "look", "arguments": '{"city": "Rome"}'}
    assert body["messages"] == [
        {"role": "user", "content": "Where?"},
        {"role": "assistant", "content": "Looking.", "reasoning": "Hm.",
         "tool_calls": [{"id": "a", "type": "function", "function": function}]},
        {"role": "tool", "tool_call_id": "a", "content": "sun"},
        {"role": "tool", "tool_call_id": "b", "content": "Error: gone"},
        {"role": "user", "content": "And now?"},
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "is_on"),
    [
        ({}, False),
        ({"thinking": {"type": "enabled"}}, True),
        ({"thinking": {"type": "adaptive"}}, True),
        ({"thinking": {"type": "disabled"}}, False),
        ({"output_config": {"effort": "high"}}, True),
        ({"thinking": {"type": "disabled"}, "output_config": {"effort": "high"}}, False),
        ({"output_config": {"format": {"type": "json_schema", "schema": {}}}}, False),
        ({"chat_template_kwargs": {"enable_thinking": True}}, True),
    ],
)
async def test_a_model_thinks_and_shows_it_only_where_that_is_asked_for(
    saying: Any, fields: dict[str, Any], is_on: bool
) -> None:
    speaker = saying("<think>hm</think>yes")
    ids = await prompt_ids(speaker, **fields)
    text = speaker.context.tokenizer.decode(ids, skip_special_tokens=False)
    assert text.endswith(str(is_on))
    found = [block.type for block in (await message(speaker, **fields)).content]
    assert found == (["thinking", "text"] if is_on else ["text"])


@pytest.mark.parametrize(
    ("fields", "status", "kind", "named"),
    [
        ({"model": "nope"}, 404, "not_found_error", "nope"),
        ({"max_tokens": 0}, 400, "invalid_request_error", "max_tokens"),
        ({"max_tokens": None}, 400, "invalid_request_error", "max_tokens"),
        ({"messages": []}, 400, "invalid_request_error", "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "image"}]}]}, 400,
         "invalid_request_error", "messages[0].content[0]"),
        ({"messages": [{"role": "user", "content": [
            {"type": "tool_use", "id": "a", "name": "x", "input": {}}]}]}, 400,
         "invalid_request_error", "messages[0].content[0].type"),
        ({"tool_choice": {"type": "any"}}, 400, "invalid_request_error", "tool_choice"),
        ({"tools": [{"name": "x", "type": "web_search_20250305"}]}, 400,
         "invalid_request_error", "tools[0]"),
        ({"stop_sequences": [""]}, 400, "invalid_request_error", "stop_sequences"),
        ({"temperature": 9}, 400, "invalid_request_error", "temperature"),
        ({"tools": [LOOK, LOOK]}, 400, "invalid_request_error", "'tools[1].name'"),
        ({"tools": [{"name": "x", "input_schema": {"type": "array"}}]}, 400,
         "invalid_request_error", "'tools[0].input_schema.type'"),
        ({"output_config": {"format": {"type": "json_schema", "schema": {"type": "x"}}}}, 400,
         "invalid_request_error", "'output_config.format.schema'"),
        ({"tools": [LOOK], "tool_choice": {"type": "tool", "name": "z"}}, 400,
         "invalid_request_error", "'tool_choice'"),
        ({"mcp_servers": [{}]}, 400, "invalid_request_error", "mcp_servers"),
    ],
)  # fmt: skip
async def test_errors_have_anthropics_envelope(
    saying: Any, fields: dict[str, Any], status: int, kind: str, named: str
) -> None:
    client = create_app(saying("hello").context).test_client()
    response = await client.post("/v1/messages", json={**ASK, **fields})
    answer = await response.get_json()
    assert response.status_code == status
    assert (answer["type"], answer["error"]["type"]) == ("error", kind)
    assert named in answer["error"]["message"]


async def test_a_failure_in_a_stream_is_one_error_event(saying: Any) -> None:
    speaker = saying("hello world")
    speaker.engine.failure = RuntimeError("secret")
    speaker.engine.failure_after = 1
    found = await events(speaker)
    assert found[-1]["error"]["type"] == "api_error"
    assert "secret" not in found[-1]["error"]["message"]
    assert [event.type for event in found[:1]] == ["message_start"]


async def test_an_answer_the_operator_ended_is_a_paused_turn(saying: Any) -> None:
    speaker = saying("hello")
    speaker.engine.end_reason = FinishReason.ABORT
    assert (await message(speaker)).stop_reason == "pause_turn"
