"""Tokens of a request as the client sees them."""

from __future__ import annotations

import pydantic


class PromptTokensDetails(pydantic.BaseModel):
    """Of the prompt's tokens: how many were found in the prefix cache."""

    cached_tokens: int
    audio_tokens: int


class CompletionTokensDetails(pydantic.BaseModel):
    """Of the generated tokens."""

    reasoning_tokens: int
    audio_tokens: int
    accepted_prediction_tokens: int
    rejected_prediction_tokens: int


class RequestMetrics(pydantic.BaseModel):
    """How long an answer of one sequence waited and took (`--enable-per-request-metrics`)."""

    time_to_first_token_ms: float | None
    generation_time_ms: float | None
    queue_time_ms: float | None
    mean_itl_ms: float | None
    tokens_per_second: float | None
    speculative_decoding: None


class Usage(pydantic.BaseModel):
    """Tokens of a request."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails
    completion_tokens_details: CompletionTokensDetails
