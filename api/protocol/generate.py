"""POST /inference/v1/generate (vLLM's tokens in, tokens out)."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import pydantic

from api.protocol.base import (
    THINKING_SWITCHES,
    RequestModel,
    SamplingFields,
    StreamOptions,
    TokenIds,
)
from api.protocol.chat import ResponseMessage
from api.protocol.management import MAX_REQUEST_IDS
from api.protocol.structured import StructuredOutputs
from api.protocol.tools import FunctionChoice, Tools
from api.protocol.usage import RequestMetrics, Usage

PromptIds = Annotated[TokenIds, pydantic.Field(min_length=1)]


OutputMode = Literal["tokens", "text", "derender"]


class GenerateSampling(SamplingFields):
    """`sampling_params`: vLLM's names and defaults."""

    max_tokens: int | None = 16
    logprobs: int | None = None
    structured_outputs: StructuredOutputs | None = None
    skip_reading_prefix_cache: bool | None = False


class ReasoningParserFields(RequestModel):
    """What the reasoning parser is told: how the prompt was rendered."""

    chat_template_kwargs: dict[str, Any] = pydantic.Field(default_factory=dict[str, Any])


class ParseContext(RequestModel):
    """What a chat request would say of reading its answers; the prompt says the rest.

    Attributes:
        chat_template_kwargs: of the prompt's rendering. Whether it opened the model's thoughts is
            seen in the prompt itself.
        history_tool_call_cnt: calls in the prompt; no id made here counts calls.
    """

    tools: Tools | None = None
    tool_choice: Literal["none", "auto", "required"] | FunctionChoice | None = "none"
    parallel_tool_calls: bool | None = True
    include_reasoning: bool = True
    chat_template_kwargs: dict[str, Any] = pydantic.Field(default_factory=dict[str, Any])
    history_tool_call_cnt: Annotated[int, pydantic.Field(ge=0, le=2**31 - 1)] = 0


class GenerateTokensRequest(RequestModel):
    """The body.

    Attributes:
        token_offsets: what rendering told of the prompt's text; nothing here depends on it.
        output_mode: `tokens` alone, `text` beside them, or with `derender` a chat's message.
        parse_context: how messages are read, with `derender`.
        return_token_ids: the prompt's ids come back as well.
        reasoning_ended: the prompt has left the thoughts, or not; null: its ids tell.
    """

    apart: ClassVar[frozenset[str]] = frozenset({"sampling_params"})

    token_ids: PromptIds
    token_offsets: list[list[int]] | None = None
    sampling_params: GenerateSampling
    model: str | None = None
    request_id: Annotated[str, pydantic.Field(min_length=1, max_length=128)] | None = None
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    output_mode: OutputMode = "tokens"
    parse_context: ParseContext | None = None
    return_token_ids: bool | None = None
    cache_salt: Annotated[str, pydantic.Field(min_length=1, max_length=1024)] | None = None
    priority: int | None = 0
    reasoning_ended: bool | None = None
    reasoning_parser_kwargs: ReasoningParserFields | None = None

    @property
    def is_reasoning_ended(self) -> bool | None:
        """As `reasoning_ended` says, or a prompt rendered without thoughts; None: neither tells."""
        if self.reasoning_ended is not None:
            return self.reasoning_ended
        given = self.reasoning_parser_kwargs
        variables = {} if given is None else given.chat_template_kwargs
        is_off = any(variables.get(name) is False for name in THINKING_SWITCHES)
        return True if is_off else None


class AbortGenerationsRequest(RequestModel):
    """The body of /inference/v1/abort_requests: `request_id`s of answers; an id that nobody has
    ends nothing."""

    request_ids: Annotated[list[str], pydantic.Field(max_length=MAX_REQUEST_IDS)]


class WeightVersion(pydantic.BaseModel):
    """Which weights made tokens `[start, end)`; they never change while the server runs."""

    version: str
    start: int
    end: int


class GenerateChoice(pydantic.BaseModel):
    """One continuation; `text` and `message` in their modes alone."""

    index: int
    finish_reason: Literal["stop", "length", "repetition", "abort", "tool_calls"] | None
    stop_reason: str | int | None
    token_ids: list[int]
    routed_experts: None
    sampling_mask: None
    weight_versions: list[WeightVersion] | None
    logprobs: dict[str, Any] | None
    text: str | None = None
    message: ResponseMessage | None = None


class GenerateTokensResponse(pydantic.BaseModel):
    """The answer when `stream` is false."""

    request_id: str
    model: str
    created: int
    usage: Usage
    prompt_logprobs: list[Any] | None
    prompt_token_id_logprobs: None
    prompt_token_ids: list[int] | None
    mm_placeholders: None
    metrics: RequestMetrics | None
    kv_transfer_params: None
    ec_transfer_params: None
    output_mode: OutputMode
    choices: list[GenerateChoice]
