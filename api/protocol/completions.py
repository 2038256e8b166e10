"""POST /v1/completions."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pydantic

from api.protocol.base import GenerationFields, RequestModel, Texts, TokenIds
from api.protocol.structured import StructuredFields
from api.protocol.usage import RequestMetrics, Usage

MAX_PROMPTS = 1024
Prompt = str | TokenIds | Texts | Annotated[list[TokenIds], pydantic.Field(fail_fast=True)]


class PromptTensor(RequestModel):
    """Embeddings as raw numbers.

    Attributes:
        shape: tokens and width; a 1 may stand before them.
        data: base64 of the numbers, row after row, little-endian.
    """

    dtype: Literal["float32", "float16", "bfloat16"]
    shape: Annotated[
        list[Annotated[int, pydantic.Field(ge=1, le=2**31 - 1)]],
        pydantic.Field(min_length=2, max_length=3),
    ]
    data: str


PromptEmbedsField = (
    str | PromptTensor | Annotated[list[str | PromptTensor], pydantic.Field(fail_fast=True)]
)


class CompletionRequest(GenerationFields, StructuredFields):
    """The body. Fields of later versions are listed in `later_fields.COMPLETIONS`.

    Attributes:
        prompt: may be missing where there are `prompt_embeds`.
        prompt_embeds: prompts as embeddings, a file of `torch.save` in base64 or raw numbers; their
            choices come first.
    """

    prompt: Prompt | None = None
    prompt_embeds: PromptEmbedsField | None = None
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
