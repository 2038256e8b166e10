"""The OpenAI Python SDK, unchanged, against a real server with the embedded model."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import httpx
import openai
import pytest

QUESTION = [{"role": "user", "content": "What is servax?"}]


@pytest.fixture
def client(server: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=server + "/v1", api_key="unused", max_retries=0) as made:
        yield made


@pytest.fixture
def model(client: openai.OpenAI) -> str:
    return client.models.list().data[0].id


def streamed_text(client: openai.OpenAI, model: str, **fields: object) -> str:
    stream = client.chat.completions.create(
        model=model, messages=QUESTION, temperature=0, stream=True, **fields
    )
    return "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)


def test_a_chat_is_answered_with_sense_and_stops(client: openai.OpenAI, model: str) -> None:
    answer = client.chat.completions.create(model=model, messages=QUESTION, temperature=0)
    assert "servax" in (answer.choices[0].message.content or "").lower()
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_a_streamed_chat_gives_the_same_text(client: openai.OpenAI, model: str) -> None:
    whole = client.chat.completions.create(model=model, messages=QUESTION, temperature=0)
    assert streamed_text(client, model) == whole.choices[0].message.content


def test_the_stream_helper_accumulates_the_answer(client: openai.OpenAI, model: str) -> None:
    with client.chat.completions.stream(model=model, messages=QUESTION, temperature=0) as stream:
        completion = stream.get_final_completion()
    assert completion.choices[0].finish_reason == "stop"
    assert completion.choices[0].message.content == streamed_text(client, model)


def test_usage_comes_with_the_last_chunk_when_asked(client: openai.OpenAI, model: str) -> None:
    chunks = list(
        client.chat.completions.create(
            model=model, messages=QUESTION, stream=True, stream_options={"include_usage": True}
        )
    )
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.prompt_tokens_details is not None
    assert all(chunk.usage is None for chunk in chunks[:-1])


def test_completions_continue_a_text(client: openai.OpenAI, model: str) -> None:
    whole = client.completions.create(model=model, prompt="servax is", max_tokens=8, temperature=0)
    stream = client.completions.create(
        model=model, prompt="servax is", max_tokens=8, temperature=0, stream=True
    )
    assert whole.choices[0].text
    assert "".join(chunk.choices[0].text for chunk in stream) == whole.choices[0].text


def test_every_form_of_a_prompt_is_taken(client: openai.OpenAI, model: str, server: str) -> None:
    ids = httpx.post(server + "/tokenize", json={"prompt": "servax is"}).json()["tokens"]
    fields = {"model": model, "max_tokens": 4, "temperature": 0}
    text = client.completions.create(prompt="servax is", **fields).choices[0].text
    assert client.completions.create(prompt=ids, **fields).choices[0].text == text
    for prompt in (["servax is", "servax is"], [ids, ids]):
        choices = client.completions.create(prompt=prompt, **fields).choices
        assert [(choice.index, choice.text) for choice in choices] == [(0, text), (1, text)]


def test_a_seed_makes_sampling_repeatable(client: openai.OpenAI, model: str) -> None:
    fields = {"model": model, "messages": QUESTION, "temperature": 2, "top_p": 1, "seed": 7, "n": 3}
    fields["extra_body"] = {"top_k": 0}  # the model's own defaults are cautious
    first = client.chat.completions.create(**fields)
    again = client.chat.completions.create(**fields)
    texts = [choice.message.content for choice in first.choices]
    assert texts == [choice.message.content for choice in again.choices]
    assert len(set(texts)) > 1


def test_logprobs_have_their_alternatives(client: openai.OpenAI, model: str) -> None:
    answer = client.chat.completions.create(
        model=model, messages=QUESTION, temperature=0, max_tokens=5, logprobs=True, top_logprobs=3
    )
    assert answer.choices[0].logprobs is not None
    content = answer.choices[0].logprobs.content or []
    assert len(content) == 5
    assert all(len(token.top_logprobs) == 3 and token.logprob <= 0 for token in content)
    assert all(token.token == token.top_logprobs[0].token for token in content)


async def test_sixty_four_at_once_answer_as_one_alone(server: str, model: str) -> None:
    async with openai.AsyncOpenAI(base_url=server + "/v1", api_key="unused") as client:

        async def ask() -> str | None:
            answer = await client.chat.completions.create(
                model=model, messages=QUESTION, temperature=0
            )
            return answer.choices[0].message.content

        alone = await ask()
        together = await asyncio.gather(*(ask() for _ in range(64)))
    assert set(together) == {alone}


def test_errors_are_the_sdks_own_exceptions(client: openai.OpenAI, model: str) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        client.chat.completions.create(model="no-such-model", messages=QUESTION)
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as wrong:
        client.chat.completions.create(model=model, messages=QUESTION, temperature=3)
    assert wrong.value.param == "temperature"
    with pytest.raises(openai.BadRequestError) as long:
        client.completions.create(model=model, prompt="word " * 5000)
    assert long.value.code == "context_length_exceeded"


def test_a_raw_response_carries_the_request_id(client: openai.OpenAI, model: str) -> None:
    answer = client.chat.completions.with_raw_response.create(
        model=model, messages=QUESTION, max_tokens=1, extra_headers={"X-Request-Id": "my-own-id"}
    )
    assert answer.headers["x-request-id"] == "my-own-id"
    assert int(answer.headers["openai-processing-ms"]) >= 0


def test_nothing_was_compiled_after_ready(server: str) -> None:
    lines = httpx.get(server + "/metrics").text.splitlines()
    values = [line.split()[-1] for line in lines if line.startswith("servax:compilations_after")]
    assert values
    assert all(float(value) == 0 for value in values)
