"""*/render: what a request gives the engine, as a body that /inference/v1/generate takes."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from api.model.formats import ModelFormats
from api.parsers.reasoning import REASONING_PARSERS
from api.services.anthropic.service import render_message
from api.services.generate.service import generate_tokens
from api.services.render.service import render_chat_completion, render_completion
from engine.errors import RequestError

USER = [{"role": "user", "content": "hi"}]
WISHES = {
    "temperature": 0.5, "top_k": 3, "min_p": 0.1, "presence_penalty": 0.5, "seed": 7, "n": 2,
    "stop": ["x", "y"], "stop_token_ids": [9], "bad_words": ["no"], "min_tokens": 1,
    "ignore_eos": True, "logit_bias": {"5": 1.0}, "allowed_token_ids": [5, 6, 7], "max_tokens": 4,
    "repetition_detection": {"max_pattern_size": 2, "min_pattern_size": 1, "min_count": 3},
}  # fmt: skip


async def chat(speaker: Any, **fields: Any) -> Any:
    body = {"messages": USER, **fields}
    return orjson.loads((await render_chat_completion(speaker.context, body, "r")).body)


async def complete(speaker: Any, prompt: Any = "one two", **fields: Any) -> Any:
    body = {"prompt": prompt, **fields}
    return orjson.loads((await render_completion(speaker.context, body, "r")).body)


async def engine_gets(speaker: Any, rendered: dict[str, Any]) -> Any:
    await generate_tokens(speaker.context, rendered)
    return speaker.engine.requests[-1]


async def test_a_rendered_conversation_has_vllms_members(speaking: Any) -> None:
    rendered = await chat(speaking("hello"), temperature=0, max_tokens=4, model="test-model")
    assert rendered["request_id"] == "chatcmpl-r"
    assert rendered["sampling_params"] == {
        "presence_penalty": 0.0, "frequency_penalty": 0.0, "repetition_penalty": 1.0,
        "temperature": 0.0, "top_p": 1.0, "top_k": 0, "min_p": 0.0, "stop": [],
        "stop_token_ids": [], "max_tokens": 4, "n": 1, "output_kind": 2, "skip_clone": True,
        "bad_words": [], "skip_reading_prefix_cache": False,
    }  # fmt: skip
    del rendered["sampling_params"], rendered["token_ids"], rendered["request_id"]
    assert rendered == {
        "token_offsets": None, "features": None, "content_parts": None, "model": "test-model",
        "reasoning_ended": None, "reasoning_parser_kwargs": None, "return_token_ids": None,
        "output_mode": "tokens", "stream": False, "stream_options": None, "cache_salt": None,
        "priority": 0, "kv_transfer_params": None, "ec_transfer_params": None,
    }  # fmt: skip


@pytest.mark.parametrize("fields", [{}, WISHES, {"logprobs": True, "top_logprobs": 2}])
async def test_generating_a_rendered_conversation_is_answering_it(
    speaking: Any, fields: dict[str, Any]
) -> None:
    direct, speaker = speaking("hello"), speaking("hello")
    await direct.chat(seed=3, **{k: v for k, v in fields.items() if k != "seed"})
    rendered = await chat(speaker, seed=3, **{k: v for k, v in fields.items() if k != "seed"})
    wanted, got = direct.engine.requests[0], await engine_gets(speaker, rendered)
    assert got.prompt_token_ids == wanted.prompt_token_ids
    assert (got.sampling, got.num_sequences) == (wanted.sampling, wanted.num_sequences)


@pytest.mark.parametrize("prompts", [["one", "two three"], [[5, 6], [7]]])
async def test_each_prompt_of_a_completion_is_rendered(speaking: Any, prompts: Any) -> None:
    direct, speaker = speaking("hello"), speaking("hello")
    fields = {**WISHES, "logprobs": 1}
    await direct.complete(prompts, **fields)
    for index, rendered in enumerate(await complete(speaker, prompts, **fields)):
        wanted, got = direct.engine.requests[index], await engine_gets(speaker, rendered)
        assert got.prompt_token_ids == wanted.prompt_token_ids
        assert (got.sampling, got.num_sequences) == (wanted.sampling, wanted.num_sequences)


async def test_the_models_defaults_are_filled_in(speaking: Any) -> None:
    speaker = speaking("hello", default_sampling={"temperature": 0.25, "top_k": 7})
    rendered = await chat(speaker)
    sampling = rendered["sampling_params"]
    assert (sampling["temperature"], sampling["top_k"]) == (0.25, 7)
    assert sampling["max_tokens"] == 128 - len(rendered["token_ids"])


async def test_offsets_say_which_characters_a_token_stands_for(speaking: Any) -> None:
    rendered = (await complete(speaking("x"), "hello one", return_token_offsets=True))[0]
    text = "hello one"
    pieces = [text[start:end] for start, end in rendered["token_offsets"]]
    assert len(pieces) == len(rendered["token_ids"])
    assert "".join(pieces) == text
    kept = await complete(speaking("x"), text, return_token_offsets=True, truncate_prompt_tokens=1)
    assert kept[0]["token_offsets"] == rendered["token_offsets"][-1:]
    whole = await chat(speaking("x"), return_token_offsets=True)
    cut = await chat(speaking("x"), return_token_offsets=True, truncate_prompt_tokens=2)
    assert cut["token_offsets"] == whole["token_offsets"][-2:]
    ids = await complete(speaking("x"), [5, 6], return_token_offsets=True)
    assert ids[0]["token_offsets"] is None


async def test_a_body_with_offsets_generates_as_one_without(speaking: Any) -> None:
    speaker = speaking("x")
    plain = (await complete(speaker, "hello one", seed=3))[0]
    rendered = (await complete(speaker, "hello one", seed=3, return_token_offsets=True))[0]
    assert rendered["token_offsets"]
    wanted, got = await engine_gets(speaker, plain), await engine_gets(speaker, rendered)
    assert (got.prompt_token_ids, got.sampling) == (wanted.prompt_token_ids, wanted.sampling)


async def test_a_stream_stays_one(speaking: Any) -> None:
    rendered = await chat(speaking("x"), stream=True, stream_options={"include_usage": True})
    assert rendered["stream"] is True
    assert rendered["stream_options"] == {"include_usage": True}
    assert rendered["sampling_params"]["output_kind"] == 1


async def test_salts_stay_apart(speaking: Any) -> None:
    assert (await chat(speaking("x"), cache_salt="a"))["cache_salt"] == "a"
    both = await chat(speaking("x"), cache_salt="a", prompt_cache_key="b")
    assert both["cache_salt"] not in ("a", "b", None)


THINKING = {name: ModelFormats(reasoning=REASONING_PARSERS[name]) for name in ("qwen3", "kimi_k2")}
CHOICE = {"structured_outputs": {"choice": ["hello", "no"]}}
CONTINUED = {"continue_final_message": True, "add_generation_prompt": False}


@pytest.mark.parametrize("name", THINKING)
@pytest.mark.parametrize(
    ("said", "start", "fields", "is_open"),
    [
        ("hi", "", {}, False),
        ("hi", "<think>", {}, True),
        ("<think>", "\n", {}, True),
        ("Think first, in <think>.", "<bot>", {}, False),
        ("<think>\nam I thinking?", "<bot>", {}, False),
        ("</think>", "<think>", {}, True),
        ("<think>\nLet me", "", CONTINUED, True),
        ("<think>", "", {"truncate_prompt_tokens": 3, "truncation_side": "right"}, False),
    ],
)
async def test_a_rendered_request_thinks_as_the_chat_would(
    speaking: Any, name: str, said: str, start: str, fields: dict[str, Any], is_open: bool
) -> None:
    template = "{% for m in messages %}{{ m.content }}{% endfor %}" + start
    messages = [{"role": "assistant" if fields is CONTINUED else "user", "content": said}]
    wish = {"messages": messages, **CHOICE, "thinking_token_budget": 9, **fields}
    direct, speaker = (
        speaking("hello", template=template, formats=THINKING[name]) for _ in range(2)
    )
    await direct.chat(**wish)
    rendered = await chat(speaker, **wish)
    assert rendered["reasoning_ended"] is not is_open
    wanted, got = direct.engine.requests[0], await engine_gets(speaker, rendered)
    assert got.grammar.source == wanted.grammar.source
    assert got.grammar.begins_after == wanted.grammar.begins_after
    assert bool(got.grammar.begins_after) == is_open
    assert got.sampling.thinking_token_budget == wanted.sampling.thinking_token_budget == 9
    assert (got.reasoning, got.reasoning.is_open) == (wanted.reasoning, is_open)


async def test_anthropics_messages_are_rendered_too(speaking: Any) -> None:
    body = {"model": "test-model", "max_tokens": 4, "messages": USER, "stream": True}
    rendered = orjson.loads((await render_message(speaking("x").context, body, "r")).body)
    assert rendered["token_ids"] == (await chat(speaking("x")))["token_ids"]
    assert (rendered["sampling_params"]["max_tokens"], rendered["stream"]) == (4, True)


@pytest.mark.parametrize(
    ("render", "fields", "param"),
    [
        (chat, {"use_beam_search": True}, "use_beam_search"),
        (chat, {"best_of": 2}, "best_of"),
        (chat, {"store": True}, "store"),
        (chat, {"messages": []}, "messages"),
        (chat, {"temperature": 3}, "temperature"),
        (chat, {"return_token_offsets": 1}, "return_token_offsets"),
        (chat, {"stream_options": {}}, "stream_options"),
        (complete, {"echo": True}, "echo"),
        (complete, {"prompt_embeds": "AAAA"}, "prompt_embeds"),
        (complete, {"use_beam_search": True}, "use_beam_search"),
        (complete, {"prompt": "x " * 500}, "prompt"),
    ],
)
async def test_what_cannot_be_rendered_is_named(
    speaking: Any, render: Any, fields: dict[str, Any], param: str
) -> None:
    with pytest.raises(RequestError) as caught:
        await render(speaking("x"), **fields)
    assert caught.value.param == param
