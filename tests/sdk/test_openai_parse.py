"""The OpenAI Python SDK with pydantic: `parse` and `stream` with a format, calls with arguments."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import openai
import pydantic
import pytest

SENTENCE = r"^The capital of [A-Z][a-z]+ is [A-Z][a-z]+\.$"
ROME = "The capital of Italy is Rome."


class Fact(pydantic.BaseModel):
    """What the model knows, in its own words."""

    answer: Annotated[str, pydantic.Field(pattern=SENTENCE)]


class GetWeather(pydantic.BaseModel):
    """Get the weather"""

    city: str


ASKED: dict[str, Any] = {
    "model": "servax-tiny",
    "messages": [{"role": "user", "content": "What is the capital of Italy?"}],
    "response_format": Fact,
    "temperature": 0,
    "max_tokens": 200,
    "extra_body": {"chat_template_kwargs": {"enable_thinking": False}},
}


@pytest.fixture
def client(server: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=server + "/v1", api_key="unused", max_retries=0) as made:
        yield made


def test_an_answer_is_parsed_as_the_class_that_was_asked_for(client: openai.OpenAI) -> None:
    message = client.chat.completions.parse(**ASKED).choices[0].message
    assert message.parsed == Fact(answer=ROME)
    assert message.refusal is None


def test_the_stream_helper_parses_what_it_has_put_together(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(**ASKED) as stream:
        parts = [event.parsed for event in stream if event.type == "content.delta"]
        final = stream.get_final_completion().choices[0].message
    assert final.parsed == Fact(answer=ROME)
    assert any(isinstance(part, dict) and "answer" in part for part in parts)


def test_arguments_of_a_call_are_parsed(client: openai.OpenAI) -> None:
    tool = openai.pydantic_function_tool(GetWeather, name="get_weather")
    answer = client.chat.completions.parse(
        model="servax-tiny",
        messages=[{"role": "user", "content": "What is the weather in Paris?"}],
        tools=[tool],
        tool_choice="required",
        temperature=0,
        max_tokens=200,
    )
    (call,) = answer.choices[0].message.tool_calls or []
    assert isinstance(call.function.parsed_arguments, GetWeather)


def test_an_answer_that_was_cut_is_never_parsed(client: openai.OpenAI) -> None:
    with pytest.raises(openai.LengthFinishReasonError):
        client.chat.completions.parse(**{**ASKED, "max_tokens": 3})
