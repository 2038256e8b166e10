"""Which values a request may have: one truth for the API and for `engine.LLM`.

The table `RANGES` holds the plain limits; the functions below it the rest. Messages and codes are
OpenAI's, e.g. "Invalid 'temperature': decimal above maximum value. Expected a value <= 2, but got
2.5 instead." with code ``decimal_above_max_value``.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence

from engine.errors import ContextLengthError, InvalidParameterError
from engine.prompt_embeds import embedded_prompt, verify_embeds
from engine.request import (
    MAX_BAD_WORDS,
    MAX_BAD_WORDS_TOKENS,
    MAX_LOGIT_BIAS,
    MAX_LOGPROB_TOKEN_IDS,
    MAX_SEQUENCES_PER_REQUEST,
    MAX_STOP_STRINGS,
    GenerateRequest,
    ModelInfo,
    RepetitionDetection,
    SamplingParams,
)
from engine.sampling.bad_words import MAX_STEP_BANS, max_step_bans

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1
MAX_STOP_CHARACTERS = 4096
MAX_BEST_OF = 20

Names = Mapping[str, str]
"""Field of `SamplingParams` → what the client called it, where the two differ."""


@dataclasses.dataclass(frozen=True, slots=True)
class Range:
    """Limits of a number, both included unless `is_open`: then `low` itself is refused."""

    low: float | None = None
    high: float | None = None
    is_integer: bool = False
    is_open: bool = False

    def verify(self, value: float, param: str) -> None:
        """Raise InvalidParameterError when `value` is outside, or no number at all."""
        kind = "integer" if self.is_integer else "decimal"
        if not math.isfinite(value):
            message = f"Invalid '{param}': expected a finite number, but got {value} instead."
            raise InvalidParameterError(message, param=param, code="invalid_value")
        if self.high is not None and value > self.high:
            raise _out_of_range(param, value, kind, "above max", f"<= {_shown(self.high)}")
        if self.low is not None and (value < self.low or (self.is_open and value == self.low)):
            comparison = ">" if self.is_open else ">="
            raise _out_of_range(param, value, kind, "below min", f"{comparison} {_shown(self.low)}")


RANGES: dict[str, Range] = {
    "temperature": Range(0, 2),
    "top_p": Range(0, 1),
    "top_k": Range(0, is_integer=True),
    "min_p": Range(0, 1),
    "presence_penalty": Range(-2, 2),
    "frequency_penalty": Range(-2, 2),
    "repetition_penalty": Range(0, is_open=True),
    "max_tokens": Range(0, is_integer=True),
    "min_tokens": Range(0, is_integer=True),
    "logprobs": Range(0, is_integer=True),
    "prompt_logprobs": Range(0, is_integer=True),
    "seed": Range(INT64_MIN, INT64_MAX, is_integer=True),
    "thinking_token_budget": Range(0, is_integer=True),
}
"""Limits of the fields of `SamplingParams` that do not depend on the model."""

REPETITION_RANGES = {
    "max_pattern_size": Range(0, 256, is_integer=True),
    "min_pattern_size": Range(0, 256, is_integer=True),
    "min_count": Range(0, 4096, is_integer=True),
}
"""Each settled token is compared with this many before it: the bounds keep that to microseconds."""

NUM_SEQUENCES = Range(1, MAX_SEQUENCES_PER_REQUEST, is_integer=True)
LOGIT_BIAS = Range(-100, 100)


def verify_sampling(sampling: SamplingParams, info: ModelInfo, names: Names | None = None) -> None:
    """Check every field of `sampling` for this model.

    Raises:
        InvalidParameterError: `param` is the field as `names` spells it.
    """
    spelled = names or {}
    for field, limits in RANGES.items():
        value = getattr(sampling, field)
        if value is not None:
            limits.verify(value, spelled.get(field, field))
    _verify_repetition(sampling.repetition_detection)
    _verify_logprobs(sampling, info, spelled)
    _verify_min_tokens(sampling)
    _verify_logit_bias(sampling.logit_bias, info.vocab_size)
    _verify_ids("stop_token_ids", sampling.stop_token_ids, info.vocab_size)
    _verify_allowed_ids(sampling.allowed_token_ids, info.vocab_size)
    _verify_logprob_ids(sampling, info.vocab_size)
    _verify_bad_words(sampling.bad_words_token_ids, info.vocab_size)
    _verify_bans(sampling, info)


def _verify_repetition(limits: RepetitionDetection | None) -> None:
    if limits is None:
        return
    for field, allowed in REPETITION_RANGES.items():
        allowed.verify(getattr(limits, field), f"repetition_detection.{field}")
    if limits.min_pattern_size > limits.max_pattern_size:
        raise InvalidParameterError(
            "Invalid 'repetition_detection.min_pattern_size': it is above 'max_pattern_size'.",
            param="repetition_detection.min_pattern_size",
        )
    if limits.min_count and not limits.max_pattern_size:
        param = "repetition_detection.max_pattern_size"
        message = f"Invalid '{param}': 'min_count' needs it, and nothing is looked for without it."
        raise InvalidParameterError(message, param=param)
    if limits.max_pattern_size and limits.min_count < 2:
        raise InvalidParameterError(
            "Invalid 'repetition_detection.min_count': integer below minimum value. "
            f"Expected a value >= 2, but got {limits.min_count} instead.",
            param="repetition_detection.min_count",
            code="integer_below_min_value",
        )


def verify_request(
    request: GenerateRequest, info: ModelInfo, *, prompt_param: str = "prompt"
) -> None:
    """Check what concerns the request as a whole: prompt, context, sequences, priority.

    Raises:
        InvalidParameterError, ContextLengthError: `prompt_param` names the prompt.
    """
    NUM_SEQUENCES.verify(request.num_sequences, "n")
    verify_given(request, info, prompt_param=prompt_param)
    if request.prompt_embeds is not None:
        prompt_param = "prompt_embeds"
        assert request.prompt_token_ids == embedded_prompt(request.prompt_embeds)
    verify_context(
        len(request.prompt_token_ids), request.sampling.max_tokens, info, param=prompt_param
    )
    if request.priority != 0 and not info.has_priority_scheduling:
        raise InvalidParameterError(
            "'priority' needs the server to run with --scheduling-policy priority.",
            param="priority",
            code="unsupported_value",
        )
    Range(INT64_MIN, INT64_MAX, is_integer=True).verify(request.priority, "priority")
    _verify_thinking(request, info)


def verify_given(
    request: GenerateRequest, info: ModelInfo, *, prompt_param: str = "prompt"
) -> None:
    """Raise InvalidParameterError for ids or embeddings that the model cannot take."""
    if request.prompt_embeds is None:
        verify_prompt(request.prompt_token_ids, info, param=prompt_param)
    else:
        verify_embeds(request.prompt_embeds, info)


def verify_prompt(token_ids: Sequence[int], info: ModelInfo, *, param: str = "prompt") -> None:
    """Raise InvalidParameterError for an empty prompt or an id the model does not have."""
    if not token_ids:
        message = f"Invalid '{param}': the prompt is empty. Expected at least one token."
        raise InvalidParameterError(message, param=param, code="empty_array")
    for outside in (min(token_ids), max(token_ids)):
        if not 0 <= outside < info.vocab_size:
            message = f"Token id {outside} is out of vocabulary (size {info.vocab_size})."
            raise InvalidParameterError(message, param=param)


def verify_context(num_prompt_tokens: int, max_tokens: int, info: ModelInfo, *, param: str) -> None:
    """Raise ContextLengthError unless prompt and output fit; OpenAI's wording.

    Output of 0 tokens (scoring) needs no room; any other needs at least one token.
    """
    limit = f"This model's maximum context length is {info.max_model_len} tokens. However, "
    if num_prompt_tokens + min(max_tokens, 1) > info.max_model_len:
        raise ContextLengthError(
            f"{limit}your {param} resulted in {num_prompt_tokens} tokens. "
            f"Please reduce the length of the {param}.",
            param=param,
        )
    if num_prompt_tokens + max_tokens > info.max_model_len:
        raise ContextLengthError(
            f"{limit}you requested {num_prompt_tokens + max_tokens} tokens ({num_prompt_tokens} "
            f"in the {param}, {max_tokens} in the completion). "
            f"Please reduce the length of the {param} or completion.",
            param=param,
        )


def verify_stop_strings(stops: Sequence[str], param: str = "stop") -> None:
    """At most `MAX_STOP_STRINGS`, none empty, none longer than `MAX_STOP_CHARACTERS`."""
    _verify_count(param, len(stops), MAX_STOP_STRINGS)
    _verify_texts(param, stops)


def verify_bad_words(words: Sequence[str], param: str = "bad_words") -> None:
    """At most `MAX_BAD_WORDS`, none empty."""
    _verify_count(param, len(words), MAX_BAD_WORDS)
    _verify_texts(param, words)


def verify_best_of(best_of: int, n: int) -> None:
    """`n` <= `best_of` <= `MAX_BEST_OF`."""
    Range(0, MAX_BEST_OF, is_integer=True).verify(best_of, "best_of")
    if best_of < n:
        message = f"Invalid 'best_of': expected a value >= 'n' ({n}), but got {best_of} instead."
        raise InvalidParameterError(message, param="best_of", code="integer_below_min_value")


def max_alternatives(info: ModelInfo) -> int:
    """Most logprobs per token a request may ask for; -1 in the configuration means all."""
    return info.vocab_size if info.max_logprobs < 0 else info.max_logprobs


def _verify_thinking(request: GenerateRequest, info: ModelInfo) -> None:
    if request.sampling.thinking_token_budget is None:
        return
    param = "thinking_token_budget"
    if request.reasoning is None or not request.reasoning.end:
        message = f"Invalid '{param}': this model has no end of thinking that could be forced."
        raise InvalidParameterError(message, param=param, code="unsupported_value")
    _verify_ids(param, request.reasoning.end, info.vocab_size)


def _shown(bound: float) -> str:
    return str(bound) if isinstance(bound, int) else f"{bound:g}"


def _out_of_range(param: str, value: float, kind: str, side: str, bound: str) -> Exception:
    return InvalidParameterError(
        f"Invalid '{param}': {kind} {side}imum value. "
        f"Expected a value {bound}, but got {value} instead.",
        param=param,
        code=f"{kind}_{side.replace(' ', '_')}_value",
    )


def _verify_logprobs(sampling: SamplingParams, info: ModelInfo, names: Names) -> None:
    limit = Range(high=max_alternatives(info), is_integer=True)
    for field in ("logprobs", "prompt_logprobs"):
        value: int | None = getattr(sampling, field)
        if value is not None:
            limit.verify(value, names.get(field, field))


def _verify_logprob_ids(sampling: SamplingParams, vocab_size: int) -> None:
    token_ids, param = sampling.logprob_token_ids, "logprob_token_ids"
    if not token_ids:
        return
    if sampling.logprobs is None:
        message = f"Invalid '{param}': only allowed with 'logprobs'."
        raise InvalidParameterError(message, param=param)
    _verify_count(param, len(token_ids), MAX_LOGPROB_TOKEN_IDS)
    _verify_ids(param, token_ids, vocab_size)


def _verify_min_tokens(sampling: SamplingParams) -> None:
    if sampling.min_tokens > max(sampling.max_tokens, 0):
        raise _out_of_range(
            "min_tokens", sampling.min_tokens, "integer", "above max", f"<= {sampling.max_tokens}"
        )


def _verify_logit_bias(bias: Mapping[int, float], vocab_size: int) -> None:
    if not bias:
        return
    _verify_count("logit_bias", len(bias), MAX_LOGIT_BIAS)
    _verify_ids("logit_bias", bias, vocab_size)
    for token_id, value in bias.items():
        LOGIT_BIAS.verify(value, f"logit_bias.{token_id}")


def _verify_allowed_ids(allowed: tuple[int, ...] | None, vocab_size: int) -> None:
    if allowed is None:
        return
    if not allowed:
        message = "Invalid 'allowed_token_ids': empty array. Expected at least one token id."
        raise InvalidParameterError(message, param="allowed_token_ids", code="empty_array")
    _verify_ids("allowed_token_ids", allowed, vocab_size)


def _verify_bad_words(words: Sequence[Sequence[int]], vocab_size: int) -> None:
    if sum(map(len, words)) > MAX_BAD_WORDS_TOKENS:
        message = f"Invalid 'bad_words': more than {MAX_BAD_WORDS_TOKENS} tokens in total."
        raise InvalidParameterError(message, param="bad_words", code="array_above_max_length")
    for word in words:
        _verify_ids("bad_words", word, vocab_size)
    num_step_bans = max_step_bans(tuple(map(tuple, words)))
    if num_step_bans > MAX_STEP_BANS:
        raise InvalidParameterError(
            f"Invalid 'bad_words': {num_step_bans} words of several tokens can come to their last "
            f"token at the same time. At most {MAX_STEP_BANS} can be banned at once.",
            param="bad_words",
            code="array_above_max_length",
        )


def _verify_bans(sampling: SamplingParams, info: ModelInfo) -> None:
    """Some id must be left at every step, whatever was generated before it."""
    banned = {word[-1] for word in sampling.bad_words_token_ids if word}
    if sampling.min_tokens > 0:
        banned.update(info.eos_token_ids, sampling.stop_token_ids)
    if sampling.allowed_token_ids is None:
        if len(banned) < info.vocab_size:
            return
        param = "bad_words" if sampling.min_tokens <= 0 else "min_tokens"
    elif any(token_id not in banned for token_id in sampling.allowed_token_ids):
        return
    else:
        param = "allowed_token_ids"
    message = f"Invalid '{param}': bad words, or 'min_tokens' with what ends, may forbid every id."
    raise InvalidParameterError(message, param=param)


def _verify_ids(param: str, token_ids: Iterable[int], vocab_size: int) -> None:
    for token_id in token_ids:
        if not 0 <= token_id < vocab_size:
            message = (
                f"Invalid '{param}': token id {token_id} is out of vocabulary (size {vocab_size})."
            )
            raise InvalidParameterError(message, param=param)


def _verify_count(param: str, count: int, limit: int) -> None:
    if count > limit:
        raise InvalidParameterError(
            f"Invalid '{param}': array too long. Expected an array with maximum length {limit}, "
            f"but got an array with length {count} instead.",
            param=param,
            code="array_above_max_length",
        )


def _verify_texts(param: str, texts: Sequence[str]) -> None:
    for index, text in enumerate(texts):
        if not text:
            raise InvalidParameterError(
                f"Invalid '{param}[{index}]': empty string. "
                "Expected a string with minimum length 1, but got an empty string instead.",
                param=f"{param}[{index}]",
                code="string_below_min_length",
            )
        if len(text) > MAX_STOP_CHARACTERS:
            raise InvalidParameterError(
                f"Invalid '{param}[{index}]': string too long. Expected a string with maximum "
                f"length {MAX_STOP_CHARACTERS}, but got a string with length {len(text)} instead.",
                param=f"{param}[{index}]",
                code="string_above_max_length",
            )
