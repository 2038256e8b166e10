"""Every range, with OpenAI's wording."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from engine.errors import ContextLengthError, InvalidParameterError
from engine.request import GenerateRequest, ModelInfo, SamplingParams
from engine.validation import (
    verify_bad_words,
    verify_best_of,
    verify_request,
    verify_sampling,
    verify_stop_strings,
)

INFO = ModelInfo(
    architecture="llama",
    vocab_size=100,
    max_model_len=32,
    eos_token_ids=(2,),
    max_logprobs=20,
    max_num_seqs=4,
    fingerprint="",
    dtype="float32",
    platform="cpu",
    device_kind="cpu",
    num_parameters=1,
    weight_bytes=4,
    num_pages=16,
    page_size=16,
)
NAN, INFINITY = float("nan"), float("inf")

WRONG: list[tuple[str, Any, str]] = [
    ("temperature", 2.5, "decimal_above_max_value"),
    ("temperature", -0.1, "decimal_below_min_value"),
    ("temperature", NAN, "invalid_value"),
    ("temperature", INFINITY, "invalid_value"),
    ("top_p", 1.01, "decimal_above_max_value"),
    ("top_p", -0.1, "decimal_below_min_value"),
    ("top_p", NAN, "invalid_value"),
    ("top_k", -2, "integer_below_min_value"),
    ("min_p", 1.1, "decimal_above_max_value"),
    ("min_p", -0.1, "decimal_below_min_value"),
    ("presence_penalty", 2.1, "decimal_above_max_value"),
    ("frequency_penalty", -2.1, "decimal_below_min_value"),
    ("repetition_penalty", 0.0, "decimal_below_min_value"),
    ("repetition_penalty", INFINITY, "invalid_value"),
    ("max_tokens", -1, "integer_below_min_value"),
    ("min_tokens", -1, "integer_below_min_value"),
    ("min_tokens", 9, "integer_above_max_value"),
    ("logprobs", 21, "integer_above_max_value"),
    ("logprobs", -1, "integer_below_min_value"),
    ("prompt_logprobs", 21, "integer_above_max_value"),
    ("seed", 2**63, "integer_above_max_value"),
    ("seed", -(2**63) - 1, "integer_below_min_value"),
    ("logit_bias", {100: 1.0}, "invalid_value"),
    ("logit_bias", {1: 101.0}, "decimal_above_max_value"),
    ("logit_bias", {1: NAN}, "invalid_value"),
    ("logit_bias", dict.fromkeys(range(1025), 0.0), "array_above_max_length"),
    ("stop_token_ids", (100,), "invalid_value"),
    ("stop_token_ids", (-1,), "invalid_value"),
    ("allowed_token_ids", (), "empty_array"),
    ("allowed_token_ids", (100,), "invalid_value"),
    ("bad_words_token_ids", ((1,) * 1025,), "array_above_max_length"),
    ("bad_words_token_ids", ((100,),), "invalid_value"),
    ("bad_words_token_ids", tuple((1, last) for last in range(17)), "array_above_max_length"),
]


DEAD_ENDS: list[tuple[dict[str, Any], str]] = [
    ({"allowed_token_ids": (2,), "min_tokens": 1}, "allowed_token_ids"),
    ({"allowed_token_ids": (5,), "bad_words_token_ids": ((5,),)}, "allowed_token_ids"),
    ({"allowed_token_ids": (5,), "bad_words_token_ids": ((5, 5),)}, "allowed_token_ids"),
    ({"allowed_token_ids": (5,), "stop_token_ids": (5,), "min_tokens": 2}, "allowed_token_ids"),
    ({"stop_token_ids": tuple(range(100)), "min_tokens": 1}, "min_tokens"),
    ({"bad_words_token_ids": tuple((each,) for each in range(100))}, "bad_words"),
]


@pytest.mark.parametrize(("fields", "param"), DEAD_ENDS)
def test_bans_that_may_leave_no_id_are_refused(fields: dict[str, Any], param: str) -> None:
    sampling = msgspec.structs.replace(SamplingParams(max_tokens=8), **fields)
    with pytest.raises(InvalidParameterError) as caught:
        verify_sampling(sampling, INFO)
    assert caught.value.param == param


def test_bans_that_leave_an_id_are_allowed() -> None:
    verify_sampling(SamplingParams(max_tokens=8, allowed_token_ids=(2, 5), min_tokens=1), INFO)
    verify_sampling(SamplingParams(max_tokens=8, allowed_token_ids=(2,)), INFO)


@pytest.mark.parametrize(("field", "value", "code"), WRONG)
def test_a_value_out_of_range_is_refused_by_name(field: str, value: Any, code: str) -> None:
    sampling = msgspec.structs.replace(SamplingParams(max_tokens=8), **{field: value})
    with pytest.raises(InvalidParameterError) as caught:
        verify_sampling(sampling, INFO)
    assert caught.value.code == code
    assert (caught.value.param or "").startswith(field.removesuffix("_token_ids")[:9])


def test_the_wording_is_openais() -> None:
    with pytest.raises(InvalidParameterError) as caught:
        verify_sampling(SamplingParams(max_tokens=8, temperature=2.5), INFO)
    assert caught.value.message == (
        "Invalid 'temperature': decimal above maximum value. "
        "Expected a value <= 2, but got 2.5 instead."
    )


def test_the_client_reads_its_own_spelling() -> None:
    with pytest.raises(InvalidParameterError) as caught:
        verify_sampling(
            SamplingParams(max_tokens=8, logprobs=30), INFO, {"logprobs": "top_logprobs"}
        )
    assert caught.value.param == "top_logprobs"


def test_limits_themselves_are_allowed() -> None:
    sampling = SamplingParams(
        max_tokens=8, temperature=2, top_p=1, min_p=1, presence_penalty=-2, frequency_penalty=2,
        min_tokens=8, logprobs=20, seed=2**63 - 1, logit_bias={99: -100.0},
    )  # fmt: skip
    verify_sampling(sampling, INFO)


def test_sixteen_words_may_be_banned_at_the_same_time() -> None:
    words = tuple((first, last) for first in (1, 2) for last in range(16))
    verify_sampling(SamplingParams(max_tokens=8, bad_words_token_ids=words), INFO)


def request(**changes: Any) -> GenerateRequest:
    base = GenerateRequest(
        request_id="r", prompt_token_ids=(1,) * 10, sampling=SamplingParams(max_tokens=22)
    )
    return msgspec.structs.replace(base, **changes)


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"num_sequences": 0}, "n"),
        ({"num_sequences": 129}, "n"),
        ({"prompt_token_ids": ()}, "prompt"),
        ({"prompt_token_ids": (100,)}, "prompt"),
        ({"prompt_token_ids": (-1,)}, "prompt"),
        ({"priority": 1}, "priority"),
    ],
)
def test_a_request_that_cannot_be_honoured_is_refused(changes: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        verify_request(request(**changes), INFO)
    assert caught.value.param == param


def test_priorities_are_taken_where_the_engine_has_them() -> None:
    verify_request(
        request(priority=-3), msgspec.structs.replace(INFO, has_priority_scheduling=True)
    )


def test_prompt_and_output_fill_the_context_exactly() -> None:
    verify_request(request(), INFO)
    with pytest.raises(ContextLengthError, match="maximum context length is 32 tokens") as caught:
        verify_request(request(sampling=SamplingParams(max_tokens=23)), INFO)
    assert "33 tokens (10 in the prompt, 23 in the completion)" in caught.value.message


def test_scoring_needs_no_room_for_output() -> None:
    full: dict[str, Any] = {"prompt_token_ids": (1,) * 32}
    verify_request(request(**full, sampling=SamplingParams(max_tokens=0)), INFO)
    with pytest.raises(ContextLengthError, match="resulted in 32 tokens"):
        verify_request(request(**full, sampling=SamplingParams(max_tokens=1)), INFO)


@pytest.mark.parametrize("stops", [["a"] * 5, [""], ["x" * 4097]])
def test_stop_strings_are_bounded(stops: list[str]) -> None:
    with pytest.raises(InvalidParameterError):
        verify_stop_strings(stops)


@pytest.mark.parametrize("words", [["a"] * 129, [""]])
def test_bad_words_are_bounded(words: list[str]) -> None:
    with pytest.raises(InvalidParameterError):
        verify_bad_words(words)


@pytest.mark.parametrize(("best_of", "n"), [(21, 1), (1, 2)])
def test_best_of_is_at_least_n_and_at_most_20(best_of: int, n: int) -> None:
    with pytest.raises(InvalidParameterError):
        verify_best_of(best_of, n)
