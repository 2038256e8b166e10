"""openai-agents against a running server: an agent with a tool, on Responses and on chat."""

from __future__ import annotations

import os
from typing import Any

import pytest
from agents import (
    Agent,
    ModelSettings,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    Runner,
    function_tool,
    set_tracing_disabled,
)
from openai import AsyncOpenAI

set_tracing_disabled(True)
CALLS: list[str] = []


@function_tool(strict_mode=False)
def get_weather(city: str) -> str:
    """Get the weather."""
    CALLS.append(city)
    return '{"weather": "sunny"}'


@pytest.fixture(params=[OpenAIResponsesModel, OpenAIChatCompletionsModel])
def agent(request: Any) -> Agent[Any]:
    CALLS.clear()
    client = AsyncOpenAI(base_url=os.environ["SERVAX_URL"] + "/v1", api_key="unused")
    return Agent(
        name="tester",
        model=request.param(model="servax-tiny", openai_client=client),
        model_settings=ModelSettings(temperature=0),
        tools=[get_weather],
    )


async def test_an_agent_calls_its_tool_and_tells_the_result(agent: Agent[Any]) -> None:
    result = await Runner.run(agent, "What is the weather in Paris?")
    assert CALLS == ["Paris"]
    assert "sunny" in result.final_output


async def test_an_agent_streams(agent: Agent[Any]) -> None:
    result = Runner.run_streamed(agent, "What is the weather in Paris?")
    kinds = [event.type async for event in result.stream_events()]
    assert "raw_response_event" in kinds
    assert CALLS == ["Paris"]
    assert "sunny" in result.final_output


async def test_a_second_turn_builds_on_the_first(agent: Agent[Any]) -> None:
    first = await Runner.run(agent, "What is the weather in Paris?")
    turn = [*first.to_input_list(), {"role": "user", "content": "What is 1 + 1?"}]
    second = await Runner.run(agent, turn)
    assert second.final_output
