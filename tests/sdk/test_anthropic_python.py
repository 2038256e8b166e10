"""The Anthropic Python SDK, unchanged, against a real server with the embedded model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anthropic
import pytest

QUESTION: Any = [{"role": "user", "content": "What is servax?"}]
WEATHER: Any = [{"role": "user", "content": "What is the weather in Paris?"}]
TOOL: Any = {
    "name": "get_weather",
    "description": "Get the weather",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    },
}
FIELDS: Any = {"model": "servax-tiny", "max_tokens": 200, "extra_body": {"temperature": 0}}


@pytest.fixture
def client(server: str) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=server, api_key="unused", max_retries=0) as made:
        yield made


def tokens_read(message: anthropic.types.Message) -> int:
    """Tokens of the prompt: Anthropic counts the cached ones apart."""
    return message.usage.input_tokens + (message.usage.cache_read_input_tokens or 0)


def test_a_stream_accumulates_the_whole_answer(client: anthropic.Anthropic) -> None:
    whole = client.messages.create(messages=QUESTION, **FIELDS)
    assert whole.stop_reason == "end_turn"
    assert "servax" in whole.content[-1].text.lower()
    with client.messages.stream(messages=QUESTION, **FIELDS) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert text == whole.content[-1].text
    assert final.content[-1].text == text
    assert final.stop_reason == whole.stop_reason
    assert tokens_read(final) == tokens_read(whole)
    assert final.usage.output_tokens == whole.usage.output_tokens


@pytest.mark.parametrize("is_streamed", [False, True])
def test_a_tool_is_called_and_its_result_is_told(
    client: anthropic.Anthropic, is_streamed: bool
) -> None:
    fields = FIELDS | {"tools": [TOOL]}
    if is_streamed:
        with client.messages.stream(messages=WEATHER, **fields) as stream:
            called = stream.get_final_message()
    else:
        called = client.messages.create(messages=WEATHER, **fields)
    assert called.stop_reason == "tool_use"
    (call,) = [block for block in called.content if block.type == "tool_use"]
    assert (call.name, call.input) == ("get_weather", {"city": "Paris"})
    result = {"type": "tool_result", "tool_use_id": call.id, "content": '{"weather": "sunny"}'}
    turns: Any = [
        *WEATHER,
        {"role": "assistant", "content": called.content},
        {"role": "user", "content": [result]},
    ]
    told = client.messages.create(messages=turns, **fields)
    assert told.stop_reason == "end_turn"
    assert "sunny" in told.content[-1].text


def test_counted_tokens_are_the_ones_used(client: anthropic.Anthropic) -> None:
    fields: Any = {"messages": WEATHER, "tools": [TOOL]}
    counted = client.messages.count_tokens(model="servax-tiny", **fields)
    used = client.messages.create(**fields, **FIELDS)
    assert counted.input_tokens == tokens_read(used)


def test_errors_are_the_sdks_own_exceptions(client: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.NotFoundError):
        client.messages.create(messages=QUESTION, **FIELDS | {"model": "no-such-model"})
    with pytest.raises(anthropic.BadRequestError) as wrong:
        client.messages.create(messages=QUESTION, **FIELDS | {"extra_body": {"temperature": 3}})
    assert "temperature" in str(wrong.value)
    with pytest.raises(anthropic.BadRequestError):
        client.messages.create(messages=[{"role": "user", "content": "word " * 5000}], **FIELDS)
