"""Tools and thoughts through the OpenAI Python SDK, with the embedded model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest

TOOL: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}
QUESTION: Any = [{"role": "user", "content": "What is the weather in Paris?"}]


@pytest.fixture
def client(server: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=server + "/v1", api_key="unused", max_retries=0) as made:
        yield made


def test_a_tool_is_called_and_its_result_is_told(client: openai.OpenAI) -> None:
    fields: dict[str, Any] = {"model": "servax-tiny", "temperature": 0, "tools": [TOOL]}
    choice = client.chat.completions.create(messages=QUESTION, **fields).choices[0]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content is None
    (call,) = choice.message.tool_calls or []
    assert call.type == "function"
    assert json.loads(call.function.arguments) == {"city": "Paris"}
    result = {"role": "tool", "tool_call_id": call.id, "content": '{"weather": "sunny"}'}
    answer = client.chat.completions.create(messages=[*QUESTION, choice.message, result], **fields)
    assert answer.choices[0].finish_reason == "stop"
    assert "sunny" in (answer.choices[0].message.content or "")


def test_the_stream_helper_puts_a_call_together(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(
        model="servax-tiny", temperature=0, tools=[TOOL], messages=QUESTION
    ) as stream:
        kinds = [event.type for event in stream]
        choice = stream.get_final_completion().choices[0]
    assert "tool_calls.function.arguments.delta" in kinds
    assert choice.finish_reason == "tool_calls"
    (call,) = choice.message.tool_calls or []
    assert json.loads(call.function.arguments) == {"city": "Paris"}


def test_thoughts_come_beside_the_content(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="servax-tiny",
        temperature=0,
        messages=[{"role": "user", "content": "What is 12 + 30?"}],
        reasoning_effort="high",
    )
    message = answer.choices[0].message.model_dump()
    assert "42" in message["reasoning"]
    assert "<think>" not in (message["content"] or "")
    assert answer.usage is not None
    assert answer.usage.completion_tokens_details is not None
    assert answer.usage.completion_tokens_details.reasoning_tokens
