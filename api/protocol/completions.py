"""POST /v1/completions."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pydantic

from api.protocol.base import GenerationFields
from api.protocol.structured import StructuredFields
from api.protocol.usage import RequestMetrics, Usage

MAX_PROMPTS = 1024
TokenIds = Annotated[list[Annotated[int, pydantic.Field(ge=0)]], pydantic.Field(fail_fast=True)]
Texts = Annotated[list[str], pydantic.Field(fail_fast=True)]
Prompt = str | TokenIds | Texts | Annotated[list[TokenIds], pydantic.Field(fail_fast=True)]


class CompletionRequest(GenerationFields, StructuredFields):
    """The body. Fields of later versions are listed in `later_fields.COMPLETIONS`."""

    prompt: Prompt
    suffix: str | None = None
    logprobs: int | None = None
    max_tokens: int | None = 16
    add_special_tokens: bool = True


class CompletionLogprobs(pydantic.BaseModel):
    """Log-probabilities of a choice; one entry per token in each list."""

    text_offset: list[int]
    token_logprobs: list[float | None]
    tokens: list[str]
    top_logprobs: list[dict[str, float] | None]


class CompletionChoice(pydantic.BaseModel):
    """One continuation."""

    index: int
    text: str
    logprobs: CompletionLogprobs | None
    finish_reason: Literal["stop", "length", "content_filter", "repetition", "abort"]
    stop_reason: str | int | None
    token_ids: list[int] | None
    prompt_logprobs: list[Any] | None
    prompt_token_ids: list[int] | None
    routed_experts: None


class CompletionResponse(pydantic.BaseModel):
    """The answer when `stream` is false."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[CompletionChoice]
    service_tier: str | None
    system_fingerprint: str
    usage: Usage
    kv_transfer_params: None
    ec_transfer_params: None
    metrics: RequestMetrics | None
