"""From a request's fields and the model's defaults to `SamplingParams`."""

from __future__ import annotations

import secrets
from typing import Any

from api.context import ServerContext
from api.protocol.base import SamplingFields
from engine.errors import InvalidParameterError
from engine.request import ModelInfo, RepetitionDetection, SamplingParams
from engine.text.tokenizer import Tokenizer
from engine.validation import (
    NUM_SEQUENCES,
    RANGES,
    max_alternatives,
    verify_bad_words,
    verify_best_of,
    verify_sampling,
    verify_stop_strings,
)

SMALLEST_TOP_P = 1e-6
"""OpenAI allows top_p 0: the most likely token alone."""

_NUMBERS: dict[str, float] = {
    "temperature": 1.0,
    "top_p": 1.0,
    "top_k": 0,
    "min_p": 0.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "repetition_penalty": 1.0,
}
"""Fields taken from the request, else from generation_config.json, else from here."""


def num_sequences(request: SamplingFields) -> int:
    """Sequences to generate: `best_of` when it is given, else `n`; both checked."""
    n = request.num_choices
    NUM_SEQUENCES.verify(n, "n")
    if request.best_of is None:
        return n
    verify_best_of(request.best_of, n)
    return max(request.best_of, n)


def choose_max_tokens(
    requested: int | None, param: str, defaults: dict[str, Any], room: int, *, allow_zero: bool
) -> int:
    """Tokens to generate at most: as asked, else the model's default within `room`."""
    if requested is None:
        default = defaults.get("max_tokens")
        return max(1, room if default is None else min(room, int(default)))
    RANGES["max_tokens"].verify(requested, param)
    if requested == 0 and not allow_zero:
        raise InvalidParameterError(
            f"Invalid '{param}': integer below minimum value. "
            "Expected a value >= 1, but got 0 instead.",
            param=param,
            code="integer_below_min_value",
        )
    return requested


def build_sampling(
    context: ServerContext,
    request: SamplingFields,
    *,
    max_tokens: int,
    logprobs: int | None,
    prompt_logprobs: int | None,
    names: dict[str, str],
) -> SamplingParams:
    """The parameters of one request, checked.

    Arguments:
        logprobs: alternatives per token, -1 for the whole vocabulary; None is off.
        names: how the client spells fields of `SamplingParams` that have another name there.

    Raises:
        InvalidParameterError: a value cannot be honoured.
    """
    info = context.engine.info
    verify_stop_strings(request.stop_strings)
    verify_bad_words(request.bad_words or [])
    numbers = _numbers(request, context.default_sampling)
    sampling = SamplingParams(
        max_tokens=max_tokens,
        temperature=numbers["temperature"],
        top_p=numbers["top_p"],
        top_k=int(numbers["top_k"]),
        min_p=numbers["min_p"],
        presence_penalty=numbers["presence_penalty"],
        frequency_penalty=numbers["frequency_penalty"],
        repetition_penalty=numbers["repetition_penalty"],
        logit_bias=_logit_bias(request),
        allowed_token_ids=_optional_ids(request.allowed_token_ids),
        bad_words_token_ids=bad_words_token_ids(context.tokenizer, request.bad_words or []),
        min_tokens=request.min_tokens or 0,
        stop_token_ids=_optional_ids(request.stop_token_ids) or (),
        ignore_eos=bool(request.ignore_eos),
        repetition_detection=_repetition_detection(request),
        seed=secrets.randbits(63) if request.seed is None else request.seed,
        logprobs=_alternatives(logprobs, info, names.get("logprobs", "logprobs")),
        logprob_token_ids=_optional_ids(request.logprob_token_ids) or (),
        prompt_logprobs=_alternatives(prompt_logprobs, info, "prompt_logprobs"),
    )
    verify_sampling(sampling, info, names)
    return sampling


def verify_logprob_token_ids(request: SamplingFields, *, has_logprobs: bool) -> None:
    """Raise InvalidParameterError for ids to score where no logprobs are asked for."""
    if request.logprob_token_ids and not has_logprobs:
        raise InvalidParameterError(
            "Invalid 'logprob_token_ids': only allowed with 'logprobs'.", param="logprob_token_ids"
        )


def bad_words_token_ids(tokenizer: Tokenizer, words: list[str]) -> tuple[tuple[int, ...], ...]:
    """Each word as it is at the start of a text and after a space, as vLLM does.

    The second form counts only if it has as many tokens and begins with another one.
    """
    found: list[tuple[int, ...]] = []
    for word in words:
        bare, spaced = tokenizer.encode_batch(
            [word.lstrip() or word, f" {word.lstrip() or word}"], add_special_tokens=False
        )
        if bare:
            found.append(tuple(bare))
        if spaced and len(spaced) == len(bare) and spaced[0] != bare[0]:
            found.append(tuple(spaced))
    return tuple(found)


def _numbers(request: SamplingFields, defaults: dict[str, Any]) -> dict[str, float]:
    numbers: dict[str, float] = {}
    for name, neutral in _NUMBERS.items():
        value: float | None = getattr(request, name)
        if value is None:
            value = defaults.get(name)
        numbers[name] = neutral if value is None else value
    if numbers["top_k"] == -1:
        numbers["top_k"] = 0
    if numbers["top_p"] == 0:
        numbers["top_p"] = SMALLEST_TOP_P
    return numbers


def _alternatives(count: int | None, info: ModelInfo, param: str) -> int | None:
    """-1 is the whole vocabulary, where the server gives so many."""
    if count != -1:
        return count
    limit = max_alternatives(info)
    if limit < info.vocab_size:
        raise InvalidParameterError(
            f"Invalid '{param}': -1 asks for all {info.vocab_size} tokens of the vocabulary. "
            f"Expected a value <= {limit}, but got -1 instead.",
            param=param,
            code="integer_above_max_value",
        )
    return info.vocab_size


def _repetition_detection(request: SamplingFields) -> RepetitionDetection | None:
    given = request.repetition_detection
    if given is None:
        return None
    return RepetitionDetection(
        max_pattern_size=given.max_pattern_size,
        min_pattern_size=given.min_pattern_size,
        min_count=given.min_count,
    )


def _optional_ids(token_ids: list[int] | None) -> tuple[int, ...] | None:
    return None if token_ids is None else tuple(dict.fromkeys(token_ids))


def _logit_bias(request: SamplingFields) -> dict[int, float]:
    bias: dict[int, float] = {}
    for key, value in (request.logit_bias or {}).items():
        if not key.isascii() or not key.isdigit() or len(key) > 10:
            message = f"Invalid 'logit_bias': '{key[:64]}' is not a token id."
            raise InvalidParameterError(message, param="logit_bias")
        bias[int(key)] = value
    return bias
