"""Tokens of prompts and conversations, and back."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from api.errors import APIError
from api.services.prompts.tokenize import detokenize, tokenize, tokenizer_info
from engine.errors import InvalidParameterError
from engine.text import Tokenizer


async def call(speaker: Any, service: Any, **body: Any) -> dict[str, Any]:
    return orjson.loads((await service(speaker.context, body)).body)


async def test_a_prompt_gives_ids_count_and_pieces(speaking: Any, tokenizer: Tokenizer) -> None:
    answer = await call(speaking(), tokenize, prompt="hello world", return_token_strs=True)
    ids = tokenizer.encode("hello world")
    assert (answer["tokens"], answer["count"], answer["max_model_len"]) == (ids, len(ids), 128)
    assert answer["token_strs"] == ["hello", "Ġworld"]
    assert (await call(speaking(), tokenize, prompt="hello"))["token_strs"] is None


async def test_a_list_of_prompts_gives_lists(speaking: Any, tokenizer: Tokenizer) -> None:
    answer = await call(speaking(), tokenize, prompt=["hello", "one two"], return_token_strs=True)
    assert answer["tokens"] == [tokenizer.encode("hello"), tokenizer.encode("one two")]
    assert answer["count"] == sum(map(len, answer["tokens"]))
    assert len(answer["token_strs"]) == 2


async def test_a_conversation_is_rendered_first(speaking: Any, tokenizer: Tokenizer) -> None:
    messages = [{"role": "user", "content": "hi"}]
    answer = await call(speaking(), tokenize, messages=messages)
    assert answer["tokens"] == tokenizer.encode("<|user|>hi<|assistant|>")


async def test_ids_go_back_to_text_alone_or_in_lists(speaking: Any, tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("<|user|>hello 你")
    assert await call(speaking(), detokenize, tokens=ids) == {"prompt": "<|user|>hello 你"}
    assert await call(speaking(), detokenize, tokens=[ids, []]) == {
        "prompt": ["<|user|>hello 你", ""]
    }
    assert await call(speaking(), detokenize, tokens=[]) == {"prompt": ""}


@pytest.mark.parametrize(
    "body", [{}, {"prompt": "a", "messages": [{"role": "user", "content": ""}]}]
)
async def test_exactly_one_of_prompt_and_messages_is_needed(
    speaking: Any, body: dict[str, Any]
) -> None:
    with pytest.raises(InvalidParameterError, match="exactly one"):
        await call(speaking(), tokenize, **body)


@pytest.mark.parametrize(
    "fields",
    [
        {"tools": [{"type": "function", "function": {"name": "f"}}]},
        {"chat_template": "{{ messages }}"},
        {"chat_template_kwargs": {"a": 1}},
        {"add_generation_prompt": False},
        {"continue_final_message": True},
    ],
)
async def test_a_prompt_has_no_fields_of_messages(speaking: Any, fields: dict[str, Any]) -> None:
    speaker = speaking(trust_request_chat_template=True)
    with pytest.raises(InvalidParameterError, match="only allowed with 'messages'") as caught:
        await call(speaker, tokenize, prompt="a", **fields)
    assert [caught.value.param] == list(fields)


async def test_ids_beyond_the_vocabulary_are_refused(speaking: Any) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        await call(speaking(), detokenize, tokens=[99999999])
    assert caught.value.param == "tokens"


async def test_tokenizer_info_is_given_only_where_it_was_switched_on(speaking: Any) -> None:
    with pytest.raises(APIError) as caught:
        tokenizer_info(speaking().context)
    assert caught.value.status == 404
    context = speaking(enable_tokenizer_info_endpoint=True).context
    info = orjson.loads(tokenizer_info(context))
    assert info["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert info["chat_template"] == context.chat_template.source
