"""Chat completions: what goes to the engine, what comes back, whole and streamed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from api.errors import APIError
from engine.errors import (
    ContextLengthError,
    EngineDiedError,
    InvalidParameterError,
    OverloadedError,
)
from engine.request import ErrorInfo, FinishReason, TokenDelta
from engine.text import Tokenizer


def text_of(events: list[Any], index: int = 0) -> str:
    choices = [c for e in events if e != "[DONE]" for c in e["choices"] if c["index"] == index]
    return "".join(choice["delta"].get("content", "") for choice in choices)


async def test_an_answer_has_openais_and_vllms_members(speaking: Any) -> None:
    answer = await speaking("hello world").chat()
    assert set(answer) == {
        "id", "object", "created", "model", "choices", "service_tier", "system_fingerprint",
        "usage", "prompt_logprobs", "prompt_token_ids", "prompt_text", "kv_transfer_params",
        "ec_transfer_params", "metrics",
    }  # fmt: skip
    assert answer["id"] == "chatcmpl-req-1"
    assert (answer["model"], answer["service_tier"]) == ("test-model", "default")
    assert answer["choices"][0] == {
        "index": 0,
        "message": {
            "role": "assistant", "content": "hello world", "refusal": None, "annotations": None,
            "audio": None, "function_call": None, "reasoning": None,
        },
        "logprobs": None,
        "finish_reason": "length",
        "stop_reason": None,
        "token_ids": None,
        "routed_experts": None,
    }  # fmt: skip


async def test_usage_counts_prompt_output_and_cached_tokens(
    speaking: Any, tokenizer: Tokenizer
) -> None:
    speaker = speaking("hello world", "one")
    usage = (await speaker.chat(n=2))["usage"]
    num_prompt = len(speaker.engine.requests[0].prompt_token_ids)
    num_output = len(tokenizer.encode("hello world")) + len(tokenizer.encode("one"))
    assert usage["prompt_tokens"] == num_prompt
    assert usage["completion_tokens"] == num_output
    assert usage["total_tokens"] == num_prompt + num_output
    assert usage["prompt_tokens_details"]["cached_tokens"] == 2
    assert usage["completion_tokens_details"]["reasoning_tokens"] == 0


async def test_a_stream_begins_with_roles_and_ends_with_one_done(speaking: Any) -> None:
    events = await speaking("hello world").chat_stream(n=2)
    assert [e["choices"][0]["delta"] for e in events[:2]] == [
        {"role": "assistant", "content": ""}
    ] * 2
    assert events.count("[DONE]") == 1
    assert events[-1] == "[DONE]"
    finishes = [c["finish_reason"] for e in events[:-1] for c in e["choices"]]
    assert finishes.count("length") == 2


@pytest.mark.parametrize("text", ["hello world", "你好 🙂 one two", "a" * 60])
@pytest.mark.parametrize("fields", [{}, {"stop": ["ld", "wo", "tw"]}, {"max_tokens": 3}])
@pytest.mark.parametrize("steps", [1, 3, 100])
async def test_streamed_text_is_the_whole_text(
    speaking: Any, text: str, fields: dict[str, Any], steps: int
) -> None:
    whole, streamed = speaking(text), speaking(text)
    whole.engine.steps_per_item, streamed.engine.steps_per_item = 100, steps
    answer = await whole.chat(**fields)
    events = await streamed.chat_stream(**fields, stream_options={"include_usage": True})
    last = [e for e in events[:-1] if e["choices"]][-1]["choices"][0]
    assert text_of(events) == answer["choices"][0]["message"]["content"]
    assert last["finish_reason"] == answer["choices"][0]["finish_reason"]
    assert last["stop_reason"] == answer["choices"][0]["stop_reason"]
    assert events[-2]["usage"] == answer["usage"]


async def test_usage_is_in_a_last_chunk_of_its_own_and_null_before(speaking: Any) -> None:
    events = await speaking().chat_stream(stream_options={"include_usage": True})
    assert events[-2]["choices"] == []
    assert events[-2]["usage"]["total_tokens"] > 0
    assert all(event["usage"] is None for event in events[:-2])
    assert all("usage" not in e for e in (await speaking().chat_stream())[:-1])


async def test_continuous_usage_grows_with_each_chunk(speaking: Any) -> None:
    options = {"include_usage": True, "continuous_usage_stats": True}
    events = await speaking("hello world").chat_stream(stream_options=options)
    counts = [event["usage"]["completion_tokens"] for event in events[:-1]]
    assert counts[0] == 0
    assert counts == sorted(counts)


async def test_obfuscation_hides_lengths_when_asked_for(speaking: Any) -> None:
    events = await speaking().chat_stream(stream_options={"include_obfuscation": True})
    for event in events[:-1]:
        content = event["choices"][0]["delta"].get("content", "")
        assert (len(content) + len(event["obfuscation"])) % 16 == 0


async def test_a_stop_string_ends_only_its_sequence(speaking: Any) -> None:
    speaker = speaking("hello world", "one two three")
    answer = await speaker.chat(n=2, stop=" wor")
    first, second = answer["choices"]
    assert (first["message"]["content"], first["finish_reason"]) == ("hello", "stop")
    assert first["stop_reason"] == " wor"
    assert second["message"]["content"] == "one two three"
    assert speaker.engine.aborted == [(0,)]


async def test_a_stop_string_of_the_only_sequence_closes_the_generation(speaking: Any) -> None:
    speaker = speaking("hello world, one two three")
    answer = await speaker.chat(stop=["wor"], include_stop_str_in_output=True)
    assert answer["choices"][0]["message"]["content"] == "hello wor"
    assert len(speaker.engine.closed) == 1


async def test_the_end_token_is_counted_and_not_shown(speaking: Any, tokenizer: Tokenizer) -> None:
    speaker = speaking("hello")
    speaker.engine.ends_with_eos = True
    answer = await speaker.chat(skip_special_tokens=False, return_token_ids=True)
    choice = answer["choices"][0]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("hello", "stop")
    assert choice["token_ids"] == [*tokenizer.encode("hello"), 0]
    shown = await speaker.chat(skip_special_tokens=False, include_stop_str_in_output=True)
    assert shown["choices"][0]["message"]["content"] == "hello<|end|>"


async def test_logprobs_have_text_bytes_and_the_asked_number(
    speaking: Any, tokenizer: Tokenizer
) -> None:
    answer = await speaking("héllo").chat(logprobs=True, top_logprobs=2)
    content = answer["choices"][0]["logprobs"]["content"]
    assert bytes(b for entry in content for b in entry["bytes"]).decode() == "héllo"
    assert all(len(entry["top_logprobs"]) == 2 for entry in content)
    assert len(content) == len(tokenizer.encode("héllo"))
    plain = await speaking("hello").chat(logprobs=True)
    assert plain["choices"][0]["logprobs"]["content"][0]["top_logprobs"] == []


async def test_streamed_logprobs_are_the_whole_ones(speaking: Any) -> None:
    fields = {"logprobs": True, "top_logprobs": 1, "return_token_ids": True}
    whole = (await speaking("héllo wörld").chat(**fields))["choices"][0]
    events = await speaking("héllo wörld").chat_stream(**fields)
    chunks = [e["choices"][0] for e in events[:-1] if e["choices"][0]["logprobs"]]
    assert [x for c in chunks for x in c["logprobs"]["content"]] == whole["logprobs"]["content"]
    assert [x for c in chunks for x in c["token_ids"]] == whole["token_ids"]


async def test_tokens_can_be_named_by_their_ids(speaking: Any, tokenizer: Tokenizer) -> None:
    answer = await speaking("hello").chat(logprobs=True, return_tokens_as_token_ids=True)
    first = tokenizer.encode("hello")[0]
    assert answer["choices"][0]["logprobs"]["content"][0]["token"] == f"token_id:{first}"


async def test_best_of_gives_the_likeliest(speaking: Any) -> None:
    speaker = speaking("one", "two", "three")
    speaker.engine.logprob_of = {0: -3.0, 1: -1.0, 2: -2.0}
    answer = await speaker.chat(n=2, best_of=3)
    assert [c["message"]["content"] for c in answer["choices"]] == ["two", "three"]
    assert [c["index"] for c in answer["choices"]] == [0, 1]
    assert answer["choices"][0]["logprobs"] is None


async def test_prompt_logprobs_are_ranked_by_id(speaking: Any) -> None:
    answer = await speaking().chat(prompt_logprobs=1)
    assert answer["prompt_logprobs"][0] is None
    entry = next(iter(answer["prompt_logprobs"][1].values()))
    assert set(entry) == {"logprob", "rank", "decoded_token"}


async def test_the_template_and_its_variables_make_the_prompt(
    speaking: Any, tokenizer: Tokenizer
) -> None:
    speaker = speaking(default_chat_template_kwargs={"mood": "glum"})
    answer = await speaker.chat(
        [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
        chat_template_kwargs={"mood": "gay"},
        return_prompt_text=True,
        return_token_ids=True,
    )
    assert answer["prompt_text"] == "<|user|>a\nb<|assistant|>gay"
    assert answer["prompt_token_ids"] == tokenizer.encode(answer["prompt_text"])


async def test_template_variables_that_mean_nothing_are_named(speaking: Any) -> None:
    answer = await speaking().chat_answer(chat_template_kwargs={"x": 1}, foo=2)
    assert answer.unknown_fields == ("foo", "chat_template_kwargs.x")


async def test_a_developer_speaks_as_system_where_the_template_knows_none(speaking: Any) -> None:
    messages = [{"role": "developer", "content": "d"}]
    answer = await speaking().chat(messages=messages, return_prompt_text=True)
    assert answer["prompt_text"] == "<|system|>d<|assistant|>"


async def test_the_final_message_is_continued_and_echoed(speaking: Any) -> None:
    messages = [{"role": "user", "content": "x"}, {"role": "assistant", "content": "The "}]
    fields = {
        "messages": messages,
        "continue_final_message": True,
        "add_generation_prompt": False,
        "echo": True,
    }
    answer = await speaking("hello").chat(**fields, return_prompt_text=True)
    assert answer["prompt_text"] == "<|user|>x<|assistant|>The "
    assert answer["choices"][0]["message"]["content"] == "The hello"
    assert text_of(await speaking("hello").chat_stream(**fields)) == "The hello"


@pytest.mark.parametrize("content", [None, "", "The "])
async def test_a_final_message_that_calls_is_not_continued(speaking: Any, content: Any) -> None:
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": content, "tool_calls": [call]},
    ]
    continued = {"continue_final_message": True, "add_generation_prompt": False}
    with pytest.raises(InvalidParameterError, match="calls of tools") as caught:
        await speaking("hello").chat(messages=messages, **continued)
    assert caught.value.param == "continue_final_message"


async def test_truncation_keeps_the_asked_end(speaking: Any) -> None:
    speaker = speaking()
    await speaker.chat("one two three", truncate_prompt_tokens=3)
    kept_left = speaker.engine.requests[-1].prompt_token_ids
    await speaker.chat("one two three", truncate_prompt_tokens=3, truncation_side="right")
    kept_right = speaker.engine.requests[-1].prompt_token_ids
    await speaker.chat("one two three")
    whole = speaker.engine.requests[-1].prompt_token_ids
    assert (kept_left, kept_right) == (whole[-3:], whole[:3])
    await speaker.chat("one two " * 500, truncate_prompt_tokens=-1, max_tokens=28)
    assert len(speaker.engine.requests[-1].prompt_token_ids) == 100


async def test_every_sampling_field_reaches_the_engine(speaking: Any, tokenizer: Tokenizer) -> None:
    speaker = speaking()
    await speaker.chat(
        temperature=0.5, top_p=0.9, top_k=7, min_p=0.1, presence_penalty=1, frequency_penalty=-1,
        repetition_penalty=1.2, logit_bias={"5": -100}, allowed_token_ids=[5, 6, 5], seed=11,
        min_tokens=2, stop_token_ids=[9], ignore_eos=True, max_tokens=9, logprobs=True,
        top_logprobs=3, prompt_logprobs=2, bad_words=["hello"], priority=0, cache_salt="s",
    )  # fmt: skip
    sampling = speaker.sampling
    assert (sampling.temperature, sampling.top_p, sampling.top_k) == (0.5, 0.9, 7)
    assert (sampling.min_p, sampling.presence_penalty, sampling.frequency_penalty) == (0.1, 1, -1)
    assert (sampling.repetition_penalty, sampling.logit_bias) == (1.2, {5: -100.0})
    assert (sampling.allowed_token_ids, sampling.seed, sampling.min_tokens) == ((5, 6), 11, 2)
    assert (sampling.stop_token_ids, sampling.ignore_eos, sampling.max_tokens) == ((9,), True, 9)
    assert (sampling.logprobs, sampling.prompt_logprobs) == (3, 2)
    assert tuple(tokenizer.encode("hello")) in sampling.bad_words_token_ids
    assert tuple(tokenizer.encode(" hello")) in sampling.bad_words_token_ids
    assert "s" in speaker.engine.requests[-1].cache_salt


async def test_the_models_defaults_count_where_the_request_is_silent(speaking: Any) -> None:
    speaker = speaking(default_sampling={"temperature": 0.3, "top_k": 5, "max_tokens": 6})
    await speaker.chat(top_k=-1)
    assert (speaker.sampling.temperature, speaker.sampling.top_k) == (0.3, 0)
    assert speaker.sampling.max_tokens == 6
    await speaker.chat(temperature=1, max_completion_tokens=9, max_tokens=3)
    assert (speaker.sampling.temperature, speaker.sampling.max_tokens) == (1, 9)


async def test_without_a_limit_the_rest_of_the_context_is_the_limit(speaking: Any) -> None:
    speaker = speaking()
    await speaker.chat()
    request = speaker.engine.requests[-1]
    assert request.sampling.max_tokens == 128 - len(request.prompt_token_ids)


async def test_requests_without_a_seed_get_different_ones(speaking: Any) -> None:
    speaker = speaking()
    await speaker.chat()
    await speaker.chat()
    assert len({request.sampling.seed for request in speaker.engine.requests}) == 2
    assert len({request.request_id for request in speaker.engine.requests}) == 2


async def test_salts_keep_their_parts_apart(speaking: Any) -> None:
    speaker = speaking()
    for fields in ({"cache_salt": "a"}, {"prompt_cache_key": "a"}, {"cache_salt": "b"}, {}):
        await speaker.chat(**fields)
    assert len({request.cache_salt for request in speaker.engine.requests}) == 4


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"temperature": 3}, "temperature"),
    ({"top_p": 1.5}, "top_p"),
    ({"top_k": -5}, "top_k"),
    ({"min_p": 2}, "min_p"),
    ({"presence_penalty": 3}, "presence_penalty"),
    ({"frequency_penalty": -3}, "frequency_penalty"),
    ({"repetition_penalty": 0}, "repetition_penalty"),
    ({"n": 0}, "n"),
    ({"n": 129}, "n"),
    ({"best_of": 1, "n": 2}, "best_of"),
    ({"best_of": 21}, "best_of"),
    ({"best_of": 3, "n": 2, "stream": True}, "best_of"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"max_completion_tokens": -1}, "max_completion_tokens"),
    ({"min_tokens": 5, "max_tokens": 4}, "min_tokens"),
    ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
    ({"logprobs": True, "top_logprobs": -2}, "top_logprobs"),
    ({"logprobs": True, "top_logprobs": -1}, "top_logprobs"),
    ({"top_logprobs": 2}, "top_logprobs"),
    ({"prompt_logprobs": -2}, "prompt_logprobs"),
    ({"prompt_logprobs": 1, "stream": True}, "prompt_logprobs"),
    ({"logit_bias": {"99999": 1}}, "logit_bias"),
    ({"logit_bias": {"x": 1}}, "logit_bias"),
    ({"logit_bias": {"1": 101}}, "logit_bias.1"),
    ({"stop": ["a"] * 5}, "stop"),
    ({"stop": [""]}, "stop[0]"),
    ({"bad_words": [""]}, "bad_words[0]"),
    ({"stop_token_ids": [99999]}, "stop_token_ids"),
    ({"allowed_token_ids": []}, "allowed_token_ids"),
    ({"truncate_prompt_tokens": 129}, "truncate_prompt_tokens"),
    ({"truncate_prompt_tokens": 0}, "truncate_prompt_tokens"),
    ({"seed": 2**63}, "seed"),
    ({"priority": 1}, "priority"),
    ({"stream_options": {"include_usage": True}}, "stream_options"),
    ({"continue_final_message": True}, "continue_final_message"),
    ({"chat_template": "{{ 1 }}"}, "chat_template"),
    ({"chat_template_kwargs": {"messages": []}}, "chat_template_kwargs.messages"),
    ({"reasoning_effort": "high"}, "reasoning_effort"),
    ({"documents": [{"text": "x"}]}, "documents"),
    ({"tools": [{"type": "function"}]}, "tools[0].function"),
    ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
    ({"store": True}, "store"),
]


@pytest.mark.parametrize(("fields", "param"), REFUSED, ids=[str(f)[:50] for f, _ in REFUSED])
async def test_what_cannot_be_honoured_is_refused_by_name(
    speaking: Any, fields: dict[str, Any], param: str
) -> None:
    speaker = speaking()
    with pytest.raises(InvalidParameterError) as caught:
        await speaker.chat_answer(**fields)
    assert caught.value.param == param
    assert speaker.engine.requests == []


async def test_a_prompt_that_does_not_fit_is_told_so(speaking: Any) -> None:
    with pytest.raises(ContextLengthError, match="maximum context length is 128 tokens"):
        await speaking().chat("xyz" * 200)
    with pytest.raises(ContextLengthError, match="cannot fit"):
        await speaking().chat("hello " * 100_000)
    with pytest.raises(ContextLengthError, match="in the completion"):
        await speaking().chat(max_tokens=128)


async def test_a_requests_own_template_works_where_it_is_trusted(speaking: Any) -> None:
    speaker = speaking(trust_request_chat_template=True)
    answer = await speaker.chat(chat_template="{{ messages[0].content }}!", return_prompt_text=True)
    assert answer["prompt_text"] == "hi!"
    with pytest.raises(InvalidParameterError, match="cannot be read"):
        await speaker.chat(chat_template="{% for %}")


async def test_a_model_without_template_says_so(speaking: Any) -> None:
    with pytest.raises(APIError, match="no chat template"):
        await speaking(template=None).chat()


async def test_an_unknown_model_is_404(speaking: Any) -> None:
    with pytest.raises(APIError) as caught:
        await speaking().chat(model="nope")
    assert (caught.value.status, caught.value.code) == (404, "model_not_found")
    assert (await speaking().chat(model="alias/of-it"))["model"] == "test-model"


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("failure", [OverloadedError("full"), EngineDiedError("gone")])
async def test_a_refusal_of_the_engine_comes_before_any_event(
    speaking: Any, failure: Exception, stream: bool
) -> None:
    speaker = speaking()
    speaker.engine.failure = failure
    with pytest.raises(type(failure)):
        await speaker.chat_answer(stream=stream)


async def test_a_failure_in_the_middle_is_an_error_event_and_done(speaking: Any) -> None:
    speaker = speaking("hello world")
    speaker.engine.failure, speaker.engine.failure_after = EngineDiedError("gone"), 1
    events = await speaker.chat_stream()
    assert events[-2]["error"]["code"] == "engine_unavailable"
    assert events[-1] == "[DONE]"
    assert not [e for e in events[:-2] if e["choices"][0]["finish_reason"]]


@pytest.mark.parametrize(
    ("reason", "error", "status"),
    [
        (FinishReason.ERROR, ErrorInfo("SequenceError", "NaN at /secret"), 500),
        (FinishReason.ERROR, ErrorInfo("OverloadedError", "full", retry_after_s=2.0), 503),
        (FinishReason.ERROR, ErrorInfo("InvalidParameterError", "bad", "seed", "x"), 400),
        (FinishReason.ABORT, ErrorInfo("EngineDiedError", "shut down"), 503),
    ],
)
async def test_a_failed_sequence_is_an_error_and_never_a_stop(
    speaking: Any, reason: FinishReason, error: ErrorInfo | None, status: int
) -> None:
    speaker = speaking()
    speaker.engine.bad_delta = TokenDelta(request_id="", finish_reason=reason, error=error)
    with pytest.raises(APIError) as caught:
        await speaker.chat()
    assert caught.value.status == status
    assert "secret" not in caught.value.message


async def test_what_an_operator_ended_says_so_and_keeps_its_text(speaking: Any) -> None:
    speaker = speaking()
    speaker.engine.bad_delta = TokenDelta(
        request_id="", token_ids=(8,), finish_reason=FinishReason.ABORT
    )
    answer = await speaker.chat()
    assert answer["choices"][0]["finish_reason"] == "abort"
    assert answer["usage"]["completion_tokens"] == 1


async def test_closing_a_stream_aborts_what_runs(speaking: Any) -> None:
    speaker = speaking("hello world")
    answer = await speaker.chat_answer(stream=True, n=2)
    await anext(answer.events)
    await answer.events.aclose()
    assert len(speaker.engine.closed) == 1


async def test_closing_a_stream_nobody_read_aborts_it_too(speaking: Any) -> None:
    speaker = speaking("hello world")
    answer = await speaker.chat_answer(stream=True)
    await answer.events.aclose()
    assert len(speaker.engine.closed) == 1


async def test_cancelling_an_answer_aborts_what_runs(speaking: Any) -> None:
    speaker = speaking("hello world")
    speaker.engine.waits_forever = True
    task = asyncio.create_task(speaker.chat())
    async with asyncio.timeout(5):
        await speaker.engine.began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(speaker.engine.closed) == 1
