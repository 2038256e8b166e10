"""/v1/chat/completions/batch: a choice for each conversation, or a refusal that names one."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from api.services.chat.batch import create_batch_chat_completion
from engine.errors import EngineDiedError, RequestError


def said(*texts: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text} for text in texts]


async def batch(speaker: Any, *conversations: Any, **fields: Any) -> dict[str, Any]:
    body = {"messages": list(conversations), **fields}
    return orjson.loads((await create_batch_chat_completion(speaker.context, body, "r")).body)


async def test_each_conversation_gets_the_choice_it_would_get_alone(speaking: Any) -> None:
    fields = {"logprobs": True, "top_logprobs": 1, "return_token_ids": True}
    conversations = [said("one"), said("two", "three"), said("hi")]
    answer = await batch(speaking("hello"), *conversations, **fields)
    for index, conversation in enumerate(conversations):
        alone = await speaking("hello").chat(messages=conversation, **fields)
        assert answer["choices"][index] == {**alone["choices"][0], "index": index}
    assert set(answer) == set(alone)
    assert answer["id"] == "chatcmpl-r"


async def test_usage_is_the_sum_of_all(speaking: Any) -> None:
    speaker = speaking("hello world")
    answer = await batch(speaker, said("one"), said("two", "three"))
    prompts = [len(request.prompt_token_ids) for request in speaker.engine.requests]
    assert answer["usage"]["prompt_tokens"] == sum(prompts)
    alone = await speaking("hello world").chat("one")
    num_completion = alone["usage"]["completion_tokens"]
    assert answer["usage"]["completion_tokens"] == 2 * num_completion


async def test_every_conversation_is_held_to_the_format(speaking: Any) -> None:
    speaker = speaking("true")
    await batch(speaker, said("a"), said("b"), structured_outputs={"choice": ["true", "false"]})
    assert all(request.grammar is not None for request in speaker.engine.requests)


async def test_a_failure_ends_the_others_too(speaking: Any) -> None:
    speaker = speaking("hello world")
    speaker.engine.failure, speaker.engine.failure_after = EngineDiedError("gone"), 1
    with pytest.raises(EngineDiedError):
        await batch(speaker, said("a"), said("b"))
    assert len(speaker.engine.closed) == 2


@pytest.mark.parametrize(
    ("messages", "fields", "param"),
    [
        ([], {}, "messages"),
        ([[]], {}, "messages[0]"),
        (said("no list of lists"), {}, "messages[0]"),
        ([said("a"), [{"role": "user", "content": 5}]], {}, "messages[1][0].content"),
        ([said("a"), [{"role": "user", "content": [{"type": "image_url"}]}]], {},
         "messages[1][0].content[0].type"),
        ([said("a"), said("x" * 500)], {}, "messages[1]"),
        ([said("a")] * 1025, {}, "messages"),
        ([said("a")], {"stream": True}, "stream"),
        ([said("a")], {"store": True}, "store"),
        ([said("a")], {"n": 2}, "n"),
        ([said("a")], {"use_beam_search": True}, "use_beam_search"),
        ([said("a")], {"tools": []}, "tools"),
        ([said("a")], {"tool_choice": "auto"}, "tool_choice"),
        ([said("a")], {"prompt_logprobs": 1}, "prompt_logprobs"),
        ([said("a")], {"temperature": 3}, "temperature"),
    ],
)  # fmt: skip
async def test_a_bad_field_is_named_and_nothing_runs(
    speaking: Any, messages: Any, fields: dict[str, Any], param: str
) -> None:
    speaker = speaking("hello")
    with pytest.raises(RequestError) as caught:
        await create_batch_chat_completion(speaker.context, {"messages": messages, **fields})
    assert caught.value.param == param
    assert speaker.engine.requests == []
