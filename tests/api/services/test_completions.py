"""Completions: prompts of every kind, echo, logprobs, whole and streamed."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest

from api.services.completions import wire as completion_wire
from engine.errors import EngineDiedError, InvalidParameterError
from engine.request import FinishReason, TokenDelta
from engine.text import Tokenizer


def choice_events(events: list[Any], index: int = 0) -> list[Any]:
    return [c for e in events if e != "[DONE]" for c in e["choices"] if c["index"] == index]


async def test_an_answer_has_openais_and_vllms_members(speaking: Any) -> None:
    answer = await speaking("hello").complete(request_id="mine")
    assert answer["id"] == "cmpl-mine"
    assert answer["choices"][0] == {
        "index": 0, "text": "hello", "logprobs": None, "finish_reason": "length",
        "stop_reason": None, "token_ids": None, "prompt_logprobs": None,
        "prompt_token_ids": None, "routed_experts": None,
    }  # fmt: skip
    assert set(answer) == {
        "id", "object", "created", "model", "choices", "service_tier", "system_fingerprint",
        "usage", "kv_transfer_params", "ec_transfer_params", "metrics",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("prompt", "num_prompts"),
    [("one", 1), (["one", "two"], 2), ([5, 6], 1), ([[5, 6], [7]], 2)],
)
async def test_prompts_come_as_texts_or_ids_alone_or_many(
    speaking: Any, prompt: Any, num_prompts: int
) -> None:
    speaker = speaking("hello", "world")
    answer = await speaker.complete(prompt, n=2)
    assert [c["index"] for c in answer["choices"]] == list(range(2 * num_prompts))
    assert [c["text"] for c in answer["choices"]] == ["hello", "world"] * num_prompts
    num_tokens = sum(len(request.prompt_token_ids) for request in speaker.engine.requests)
    assert answer["usage"]["prompt_tokens"] == num_tokens
    num_cached = sum(min(2, len(r.prompt_token_ids) - 1) for r in speaker.engine.requests)
    assert answer["usage"]["prompt_tokens_details"]["cached_tokens"] == num_cached


async def test_streams_of_several_prompts_are_interleaved_and_whole(speaking: Any) -> None:
    fields: dict[str, Any] = {"n": 2, "logprobs": 1, "echo": True, "return_token_ids": True}
    whole = await speaking("hello wörld", "one").complete(["one", "two three"], **fields)
    events = await speaking("hello wörld", "one").complete_stream(
        ["one", "two three"], **fields, stream_options={"include_usage": True}
    )
    assert events[-1] == "[DONE]"
    assert events[-2]["usage"] == whole["usage"]
    for index, choice in enumerate(whole["choices"]):
        chunks = choice_events(events, index)
        assert "".join(c["text"] for c in chunks) == choice["text"]
        assert [i for c in chunks for i in c["token_ids"]] == choice["token_ids"]
        assert chunks[0]["prompt_token_ids"] == choice["prompt_token_ids"]
        assert chunks[-1]["finish_reason"] == choice["finish_reason"]
        for name, values in choice["logprobs"].items():
            assert [v for c in chunks for v in c["logprobs"][name]] == values


async def test_echoed_logprobs_point_into_the_text(speaking: Any, tokenizer: Tokenizer) -> None:
    answer = await speaking("hello world").complete("one twö", echo=True, logprobs=2)
    choice = answer["choices"][0]
    assert choice["text"] == "one twöhello world"
    logprobs = choice["logprobs"]
    ids = tokenizer.encode("one twö") + tokenizer.encode("hello world")
    assert len(logprobs["tokens"]) == len(ids)
    for token, offset in zip(logprobs["tokens"], logprobs["text_offset"], strict=True):
        if "\N{REPLACEMENT CHARACTER}" not in token:
            assert choice["text"].startswith(token, offset)
    assert logprobs["token_logprobs"][0] is None
    assert logprobs["top_logprobs"][0] is None
    plain = (await speaking("one").complete("one", logprobs=2))["choices"][0]
    assert all(len(top) == 2 for top in plain["logprobs"]["top_logprobs"])
    assert len(choice["prompt_logprobs"]) == len(tokenizer.encode("one twö"))


async def test_echo_of_ids_is_their_text(speaking: Any, tokenizer: Tokenizer) -> None:
    answer = await speaking("x").complete(tokenizer.encode("<|user|>one"), echo=True)
    assert answer["choices"][0]["text"] == "<|user|>onex"


async def test_a_prompt_can_be_scored_without_output(speaking: Any) -> None:
    answer = await speaking().complete("one two", echo=True, max_tokens=0, logprobs=1)
    assert answer["choices"][0]["text"] == "one two"
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["usage"]["completion_tokens"] == 0
    with pytest.raises(InvalidParameterError):
        await speaking().complete("one two", max_tokens=0)


async def test_sixteen_tokens_are_the_default(speaking: Any) -> None:
    speaker = speaking()
    await speaker.complete()
    assert speaker.sampling.max_tokens == 16
    await speaker.complete(max_tokens=None)
    assert speaker.sampling.max_tokens == 128 - len(speaker.engine.requests[-1].prompt_token_ids)


async def test_best_of_gives_the_likeliest(speaking: Any) -> None:
    speaker = speaking("one", "two", "three")
    speaker.engine.logprob_of = {0: -3.0, 1: -1.0, 2: -2.0}
    answer = await speaker.complete(best_of=3, echo=True)
    assert [choice["text"] for choice in answer["choices"]] == ["one twotwo"]
    assert answer["choices"][0]["logprobs"] is None
    assert answer["usage"]["completion_tokens"] > 1


async def test_one_failing_prompt_ends_all(speaking: Any) -> None:
    speaker = speaking("hello world")
    speaker.engine.failure, speaker.engine.failure_after = EngineDiedError("gone"), 1
    with pytest.raises(EngineDiedError):
        await speaker.complete(["one", "two"])
    assert len(speaker.engine.closed) == 2
    events = await speaker.complete_stream(["one", "two"])
    assert events[-2]["error"]["code"] == "engine_unavailable"
    assert events[-1] == "[DONE]"


async def test_closing_a_stream_aborts_every_prompt(speaking: Any) -> None:
    from api.services.completions.service import create_completion

    speaker = speaking("hello world")
    body = {"prompt": ["one", "two", "three"], "stream": True}
    answer = await create_completion(speaker.context, body)
    await anext(answer.events)
    await answer.events.aclose()
    assert len(speaker.engine.closed) == 3


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"prompt": ""}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": ["a", ""]}, "prompt"),
        ({"prompt": ["a"] * 1025}, "prompt"),
        ({"prompt": ["a"] * 100, "n": 100}, "n"),
        ({"prompt": [99999]}, "prompt"),
        ({"logprobs": 21}, "logprobs"),
        ({"logprobs": -2}, "logprobs"),
        ({"best_of": 3, "n": 1, "stream": True}, "best_of"),
        ({"suffix": "end"}, "suffix"),
        ({"prompt_embeds": "AAAA"}, "prompt_embeds"),
        ({"guided_regex": "(a"}, "guided_regex"),
    ],
)
async def test_what_cannot_be_honoured_is_refused_by_name(
    speaking: Any, fields: dict[str, Any], param: str
) -> None:
    speaker = speaking()
    with pytest.raises(InvalidParameterError) as caught:
        await speaker.complete(**{"prompt": "a", **fields})
    assert caught.value.param == param
    assert speaker.engine.requests == []


@pytest.mark.parametrize("stream", [False, True])
async def test_scores_of_many_prompts_let_others_take_turns(
    speaking: Any, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    turns, seen = 0, []
    scores_of = completion_wire._logprobs

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    def watched(*args: Any) -> Any:
        seen.append(turns)
        return scores_of(*args)

    monkeypatch.setattr(completion_wire, "_logprobs", watched)
    task = asyncio.create_task(others())
    speaker = speaking("hello")
    ask = speaker.complete_stream if stream else speaker.complete
    await ask(["one"] * 20, echo=True, logprobs=1)
    task.cancel()
    assert len(seen) >= 20
    assert all(before < after for before, after in itertools.pairwise(seen))


async def test_an_output_that_repeats_itself_says_so(speaking: Any) -> None:
    speaker = speaking("hello")
    rule = {"max_pattern_size": 4, "min_count": 3}
    speaker.engine.end_reason = FinishReason.REPETITION
    answer = await speaker.complete(repetition_detection=rule)
    given = speaker.sampling.repetition_detection
    assert (given.max_pattern_size, given.min_pattern_size, given.min_count) == (4, 0, 3)
    choice = answer["choices"][0]
    assert (choice["finish_reason"], choice["stop_reason"]) == ("repetition", "repetition_detected")


@pytest.mark.parametrize(
    ("rule", "param"),
    [
        ({"max_pattern_size": 4}, "repetition_detection.min_count"),
        ({"max_pattern_size": 4, "min_count": 1}, "repetition_detection.min_count"),
        ({"max_pattern_size": -1}, "repetition_detection.max_pattern_size"),
        ({"max_pattern_size": 10**6, "min_count": 2}, "repetition_detection.max_pattern_size"),
        ({"min_pattern_size": 3, "min_count": 2}, "repetition_detection.min_pattern_size"),
        ({"min_count": 2}, "repetition_detection.max_pattern_size"),
        ({"max_pattern_size": "4"}, "repetition_detection.max_pattern_size"),
        ([], "repetition_detection"),
    ],
)
async def test_a_bad_rule_of_repetition_is_named(speaking: Any, rule: Any, param: str) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        await speaking("x").complete(repetition_detection=rule)
    assert caught.value.param == param


async def test_the_echo_of_a_prompt_that_was_never_computed_has_no_scores(speaking: Any) -> None:
    speaker = speaking()
    speaker.engine.bad_delta = TokenDelta(request_id="", finish_reason=FinishReason.ABORT)
    fields: dict[str, Any] = {"echo": True, "logprobs": 1}
    (choice,) = (await speaker.complete("one two", **fields))["choices"]
    assert (choice["text"], choice["finish_reason"]) == ("one two", "abort")
    num_tokens = len(choice["logprobs"]["tokens"])
    assert choice["logprobs"]["token_logprobs"] == [None] * num_tokens
    assert choice["logprobs"]["top_logprobs"] == [None] * num_tokens
    events = await speaker.complete_stream("one two", **fields)
    assert events[0]["choices"][0]["logprobs"] == choice["logprobs"]
