"""LiteLLM, unchanged: whole, streamed, tools, usage, errors; run by tests/sdk/test_litellm.py."""

from __future__ import annotations

import json
import os
from typing import Any

import litellm
import pytest

URL = os.environ["SERVAX_URL"] + "/v1"
KEYED_URL = os.environ["SERVAX_KEYED_URL"] + "/v1"
QUESTION = [{"role": "user", "content": "What is servax?"}]
WEATHER = [{"role": "user", "content": "What is the weather in Paris?"}]
TOOL = {
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


def ask(provider: str = "hosted_vllm", **fields: Any) -> Any:
    defaults: dict[str, Any] = {
        "model": f"{provider}/servax-tiny",
        "api_base": URL,
        "api_key": "unused",
        "messages": QUESTION,
        "temperature": 0,
        "num_retries": 0,
        "max_retries": 0,
    }
    return litellm.completion(**defaults | fields)


@pytest.mark.parametrize("provider", ["openai", "hosted_vllm"])
def test_a_stream_gives_the_whole_answer_and_its_usage(provider: str) -> None:
    whole = ask(provider)
    text = whole.choices[0].message.content
    assert "servax" in text.lower()
    assert whole.choices[0].finish_reason == "stop"
    chunks = list(ask(provider, stream=True, stream_options={"include_usage": True}))
    rebuilt = litellm.stream_chunk_builder(chunks, messages=QUESTION)
    assert rebuilt.choices[0].message.content == text
    for name in ("prompt_tokens", "completion_tokens", "total_tokens"):
        assert getattr(rebuilt.usage, name) == getattr(whole.usage, name)


async def test_an_asynchronous_answer_is_the_same() -> None:
    answer = await litellm.acompletion(
        model="hosted_vllm/servax-tiny",
        api_base=URL,
        api_key="unused",
        messages=QUESTION,
        temperature=0,
    )
    assert answer.choices[0].message.content == ask().choices[0].message.content


@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_is_called_and_its_result_is_told(stream: bool) -> None:
    answer = ask(messages=WEATHER, tools=[TOOL], stream=stream)
    if stream:
        answer = litellm.stream_chunk_builder(list(answer), messages=WEATHER)
    choice = answer.choices[0]
    assert choice.finish_reason == "tool_calls"
    (call,) = choice.message.tool_calls
    assert json.loads(call.function.arguments) == {"city": "Paris"}
    result = {"role": "tool", "tool_call_id": call.id, "content": '{"weather": "sunny"}'}
    told = ask(messages=[*WEATHER, choice.message, result], tools=[TOOL])
    assert "sunny" in told.choices[0].message.content


def test_thoughts_are_litellms_reasoning_content() -> None:
    message = (
        ask(messages=[{"role": "user", "content": "What is 12 + 30?"}], reasoning_effort="high")
        .choices[0]
        .message
    )
    assert "42" in message.reasoning_content


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"temperature": 3}, litellm.BadRequestError),
        ({"model": "hosted_vllm/no-such-model"}, litellm.NotFoundError),
        (
            {"messages": [{"role": "user", "content": "word " * 5000}]},
            litellm.ContextWindowExceededError,
        ),
        ({"api_base": KEYED_URL, "api_key": "wrong"}, litellm.AuthenticationError),
    ],
    ids=["bad request", "not found", "context window", "authentication"],
)
def test_errors_are_litellms_own_exceptions(fields: dict[str, Any], error: type) -> None:
    with pytest.raises(error) as caught:
        ask(**fields)
    assert type(caught.value) is error
