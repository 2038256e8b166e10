"""Ids with log-probabilities, coarse streams, times of a request, budgets of thinking."""

from __future__ import annotations

from itertools import chain
from typing import Any

import pytest

from api.flags import FLAGS
from api.model.formats import ModelFormats
from api.parsers.reasoning import REASONING_PARSERS
from api.services.generation.request_metrics import request_metrics
from engine.errors import InvalidParameterError
from engine.request import Timings

QWEN = ModelFormats(reasoning=REASONING_PARSERS["qwen3"])
TIMES = Timings(1.0, 1.5, 2.0, 3.0)


def texts_of(events: list[Any]) -> list[str]:
    choices = [c for e in events if e != "[DONE]" for c in e["choices"]]
    found = [c["text"] if "text" in c else c["delta"].get("content") for c in choices]
    return [text for text in found if text]


# ---- logprob_token_ids


@pytest.mark.parametrize("n", [1, 2])
async def test_a_chat_scores_exactly_the_ids_asked_for(speaking: Any, n: int) -> None:
    speaker, fields = speaking("hello world"), {"logprobs": True, "top_logprobs": 2, "n": n}
    answer = await speaker.chat(**fields, logprob_token_ids=[7, 200, 5, 7])
    assert speaker.sampling.logprob_token_ids == (7, 200, 5)
    for choice in answer["choices"]:
        for entry in choice["logprobs"]["content"]:
            assert [top["logprob"] for top in entry["top_logprobs"]] == [-7.0, -200.0, -5.0]
    events = await speaker.chat_stream(**fields, logprob_token_ids=[7, 200, 5, 7])
    streamed = [c for e in events[:-1] for c in e["choices"] if c["logprobs"]]
    for index, choice in enumerate(answer["choices"]):
        mine = [c["logprobs"]["content"] for c in streamed if c["index"] == index]
        assert list(chain(*mine)) == choice["logprobs"]["content"]


async def test_a_completion_scores_the_sampled_token_and_the_ids_asked_for(speaking: Any) -> None:
    fields: dict[str, Any] = {"logprobs": 3, "logprob_token_ids": [9, 8], "n": 2}
    fields["return_tokens_as_token_ids"] = True
    answer = await speaking("hello").complete(**fields)
    for choice in answer["choices"]:
        logprobs = choice["logprobs"]
        for token, value, top in zip(
            logprobs["tokens"], logprobs["token_logprobs"], logprobs["top_logprobs"], strict=True
        ):
            assert top == {token: value, "token_id:9": -9.0, "token_id:8": -8.0}
    events = await speaking("hello").complete_stream(**fields)
    choices = [c for e in events[:-1] for c in e["choices"] if c["index"] == 1]
    streamed = chain(*(c["logprobs"]["top_logprobs"] for c in choices))
    assert list(streamed) == answer["choices"][1]["logprobs"]["top_logprobs"]


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"logprob_token_ids": [5]}, "invalid_value"),
        ({"logprob_token_ids": [5], "best_of": 2}, "invalid_value"),
        ({"logprob_token_ids": [10**6], "logprobs": 1}, "invalid_value"),
        ({"logprob_token_ids": [-1], "logprobs": 1}, "invalid_value"),
        ({"logprob_token_ids": list(range(129)), "logprobs": 1}, "array_above_max_length"),
        ({"logprob_token_ids": ["5"], "logprobs": 1}, "invalid_type"),
        ({"logprob_token_ids": [5], "logprobs": 1, "use_beam_search": True}, "invalid_value"),
    ],
)
async def test_ids_that_cannot_be_scored_are_refused_by_name(
    speaking: Any, fields: dict[str, Any], code: str
) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        await speaking("x").complete(**fields)
    assert caught.value.param is not None
    assert caught.value.param.startswith("logprob_token_ids")
    assert caught.value.code == code


async def test_a_chat_without_logprobs_scores_no_ids(speaking: Any) -> None:
    with pytest.raises(InvalidParameterError, match="only allowed with 'logprobs'"):
        await speaking("x").chat(logprob_token_ids=[5])


# ---- stream_interval


@pytest.mark.parametrize("kind", ["chat_stream", "complete_stream"])
async def test_a_chunk_has_as_many_tokens_as_were_asked_for(
    speaking: Any, tokenizer: Any, kind: str
) -> None:
    text = "abcdefghij"
    assert len(tokenizer.encode(text)) == 10
    events = await getattr(speaking(text), kind)(stream_interval=4)
    assert texts_of(events) == ["a", "bcde", "fghi", "j"]


async def test_the_servers_interval_is_the_least(speaking: Any) -> None:
    speaker = speaking("abcdefghij", stream_interval=3)
    assert texts_of(await speaker.complete_stream()) == ["a", "bcd", "efg", "hij"]
    assert texts_of(await speaker.complete_stream(stream_interval=2)) == ["a", "bcd", "efg", "hij"]
    assert texts_of(await speaker.complete_stream(stream_interval=100)) == ["a", "bcdefghij"]


async def test_a_coarse_stream_says_what_the_fine_one_says(speaking: Any) -> None:
    fields: dict[str, Any] = {"n": 3, "logprobs": 2, "return_token_ids": True}
    fine = await speaking("hello wörld", "one two").complete_stream(**fields)
    coarse = await speaking("hello wörld", "one two").complete_stream(**fields, stream_interval=3)
    assert len(coarse) < len(fine)
    for index in range(3):
        both = [
            [c for e in events[:-1] for c in e["choices"] if c["index"] == index]
            for events in (fine, coarse)
        ]
        first, second = (
            ("".join(c["text"] for c in chunks), [i for c in chunks for i in c["token_ids"]])
            for chunks in both
        )
        assert first == second


@pytest.mark.parametrize("value", [0, -1, 1.5, "2", 2**70])
async def test_an_interval_that_is_none_is_refused_by_name(speaking: Any, value: Any) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        await speaking("x").complete_stream(stream_interval=value)
    assert caught.value.param == "stream_interval"


# ---- metrics


def test_times_are_named_and_meant_as_in_vllm() -> None:
    assert request_metrics(TIMES, 10) == {
        "time_to_first_token_ms": 500.0,
        "generation_time_ms": 1000.0,
        "queue_time_ms": 500.0,
        "mean_itl_ms": pytest.approx(1000 / 9),
        "tokens_per_second": pytest.approx(10 / 1.5),
        "speculative_decoding": None,
    }
    assert request_metrics(TIMES, 1)["mean_itl_ms"] is None
    assert set(request_metrics(None, 5).values()) == {None}


async def test_answers_of_one_sequence_carry_metrics_where_the_operator_wants_them(
    speaking: Any,
) -> None:
    speaker = speaking("hello", enable_per_request_metrics=True)
    speaker.engine.timings = TIMES
    for answer in (await speaker.chat(), await speaker.complete()):
        assert answer["metrics"] == request_metrics(TIMES, answer["usage"]["completion_tokens"])
    for answer in (await speaker.chat(n=2), await speaker.complete(["a", "b"])):
        assert answer["metrics"] is None
    assert (await speaking("hello").chat())["metrics"] is None


@pytest.mark.parametrize("kind", ["chat_stream", "complete_stream"])
async def test_a_stream_carries_metrics_beside_its_usage(speaking: Any, kind: str) -> None:
    speaker = speaking("hello", enable_per_request_metrics=True)
    speaker.engine.timings = TIMES
    events = await getattr(speaker, kind)(stream_options={"include_usage": True})
    assert events[-2]["metrics"]["queue_time_ms"] == 500.0
    assert all("metrics" not in event for event in events[:-2])


async def test_a_stop_string_ends_the_time_of_generation(speaking: Any) -> None:
    speaker = speaking("hello world", enable_per_request_metrics=True)
    speaker.engine.timings = TIMES
    metrics = (await speaker.complete(stop="world"))["metrics"]
    assert metrics["time_to_first_token_ms"] == 500.0
    assert metrics["generation_time_ms"] > 1000.0


# ---- thinking_token_budget in completions


@pytest.mark.parametrize(
    ("prompt", "is_open"),
    [("hi", False), ("<think>hm", True), ("<think>hm</think> so", False)],
)
async def test_a_completion_thinks_within_its_budget(
    speaking: Any, tokenizer: Any, prompt: str, is_open: bool
) -> None:
    speaker = speaking("x", formats=QWEN)
    await speaker.complete(prompt, thinking_token_budget=3)
    request = speaker.engine.requests[-1]
    assert request.sampling.thinking_token_budget == 3
    assert request.reasoning.is_open is is_open
    assert request.reasoning.end == tuple(tokenizer.encode("</think>"))


async def test_a_budget_of_minus_one_is_none(speaking: Any) -> None:
    speaker = speaking("x")
    await speaker.complete(thinking_token_budget=-1)
    assert speaker.sampling.thinking_token_budget is None


@pytest.mark.parametrize(("formats", "budget"), [(ModelFormats(), 3), (QWEN, -2), (QWEN, "3")])
async def test_a_budget_that_cannot_be_kept_is_refused_by_name(
    speaking: Any, formats: ModelFormats, budget: Any
) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        await speaking("x", formats=formats).complete(thinking_token_budget=budget)
    assert caught.value.param == "thinking_token_budget"


def test_vllms_flags_take_effect() -> None:
    names = {flag.name for flag in FLAGS}
    assert {"stream-interval", "enable-per-request-metrics"} <= names
