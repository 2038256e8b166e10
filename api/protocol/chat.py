"""POST /v1/chat/completions."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pydantic

from api.protocol.base import GenerationFields, Metadata, ServiceTier
from api.protocol.messages import MAX_MESSAGES, Message
from api.protocol.structured import StructuredFields
from api.protocol.tools import FunctionCallChoice, Functions, ToolChoice, Tools
from api.protocol.usage import RequestMetrics, Usage

MAX_BATCH = 1024
"""Conversations of one batch, as many as vLLM takes prompts."""

ReasoningEffort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]


Conversation = Annotated[list[Message], pydantic.Field(min_length=1, max_length=MAX_MESSAGES)]


class ChatFields(GenerationFields, StructuredFields):
    """What a chat request says besides its messages. Fields of later versions are listed in
    `later_fields.CHAT`."""

    max_completion_tokens: int | None = None
    logprobs: bool | None = False
    top_logprobs: int | None = None
    metadata: Metadata | None = None
    service_tier: ServiceTier | None = None
    store: bool | None = False
    safety_identifier: Annotated[str, pydantic.Field(max_length=64)] | None = None
    prompt_cache_key: Annotated[str, pydantic.Field(max_length=1024)] | None = None
    prompt_cache_retention: Literal["in_memory", "in-memory"] | None = None

    tools: Tools | None = None
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = True
    functions: Functions | None = None
    function_call: FunctionCallChoice | None = None
    reasoning_effort: ReasoningEffort | None = None
    include_reasoning: bool | None = True
    verbosity: Literal["low", "medium", "high"] | None = None

    add_generation_prompt: bool = True
    continue_final_message: bool = False
    add_special_tokens: bool = False
    chat_template: str | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    documents: list[dict[str, Any]] | None = None
    return_prompt_text: bool | None = None


class ChatCompletionRequest(ChatFields):
    """The body of /v1/chat/completions."""

    messages: Conversation


class BatchChatCompletionRequest(ChatFields):
    """The body of /v1/chat/completions/batch: several conversations with the same wishes."""

    messages: Annotated[list[Conversation], pydantic.Field(min_length=1)]

    def conversation(self, index: int) -> ChatCompletionRequest:
        """One of them alone."""
        fields = dict(self) | {"messages": self.messages[index]}
        return ChatCompletionRequest.model_construct(set(self.model_fields_set), **fields)


class ResponseFunctionCall(pydantic.BaseModel):
    """A call of a function; `arguments` is a JSON text."""

    name: str
    arguments: str


class ResponseCustomCall(pydantic.BaseModel):
    """A call of a custom tool; `input` is any text."""

    name: str
    input: str


class ResponseToolCall(pydantic.BaseModel):
    """One call: `function` or `custom`, as `type` says."""

    id: str
    type: Literal["function", "custom"]
    function: ResponseFunctionCall | None = None
    custom: ResponseCustomCall | None = None


class ResponseMessage(pydantic.BaseModel):
    """What the assistant said.

    Attributes:
        tool_calls: missing when there are none.
        reasoning_content: the same text as `reasoning`, under its older name; missing without one.
    """

    role: str
    content: str | None
    refusal: str | None
    annotations: list[Any] | None
    audio: None
    function_call: ResponseFunctionCall | None
    tool_calls: list[ResponseToolCall] | None = None
    reasoning: str | None
    reasoning_content: str | None = None


class TopLogprob(pydantic.BaseModel):
    """One alternative at a position."""

    token: str
    logprob: float
    bytes: list[int] | None


class TokenLogprob(TopLogprob):
    """One position: what was chosen and the most likely alternatives."""

    top_logprobs: list[TopLogprob]


class ChoiceLogprobs(pydantic.BaseModel):
    """Log-probabilities of a choice."""

    content: list[TokenLogprob] | None
    refusal: list[TokenLogprob] | None


class ChatChoice(pydantic.BaseModel):
    """One answer."""

    index: int
    message: ResponseMessage
    logprobs: ChoiceLogprobs | None
    finish_reason: Literal[
        "stop",
        "length",
        "tool_calls",
        "content_filter",
        "function_call",
        "repetition",
        "abort",
    ]
    stop_reason: str | int | None
    token_ids: list[int] | None
    routed_experts: None


class ChatCompletionResponse(pydantic.BaseModel):
    """The answer when `stream` is false."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[ChatChoice]
    service_tier: ServiceTier | None
    system_fingerprint: str
    usage: Usage
    metadata: dict[str, str] | None = None
    prompt_logprobs: list[Any] | None
    prompt_token_ids: list[int] | None
    prompt_text: str | None
    kv_transfer_params: None
    ec_transfer_params: None
    metrics: RequestMetrics | None
