"""POST /v1/responses and what is made of the same fields: input_tokens, compact."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import pydantic

from api.protocol.base import Ids, ItemId, Metadata, RequestModel, ServiceTier, StopField
from api.protocol.chat import ReasoningEffort
from api.protocol.messages import MAX_MESSAGES, Message
from api.protocol.responses.items import Input
from api.protocol.responses.tools import ResponseToolChoice, ResponseTools
from api.protocol.structured import StructuredOutputs

Dialect = Literal["openai", "openresponses", "seed"]
Include = Literal[
    "file_search_call.results",
    "web_search_call.results",
    "web_search_call.action.sources",
    "message.input_image.image_url",
    "computer_call_output.output.image_url",
    "code_interpreter_call.outputs",
    "reasoning.encrypted_content",
    "message.output_text.logprobs",
]


class Reasoning(RequestModel):
    """How much the model thinks, and what is shown of it."""

    unnoticed: ClassVar[frozenset[str]] = frozenset({"context", "mode"})

    effort: ReasoningEffort | None = None
    summary: Literal["auto", "concise", "detailed"] | None = None
    generate_summary: Literal["auto", "concise", "detailed"] | None = None

    @property
    def wanted_summary(self) -> str | None:
        """Under its new name or the old one."""
        return self.summary or self.generate_summary


class TextFormat(RequestModel):
    """What the text must look like."""

    type: Literal["text", "json_object", "json_schema"]
    name: Annotated[str, pydantic.Field(min_length=1, max_length=64)] | None = None
    description: str | None = None
    schema_: Annotated[dict[str, Any] | None, pydantic.Field(alias="schema")] = None
    strict: bool | None = None


class TextConfig(RequestModel):
    """`text`."""

    format: TextFormat | None = None
    verbosity: Literal["low", "medium", "high"] | None = None


class ConversationReference(RequestModel):
    """`conversation` in its longer form."""

    id: ItemId


class ResponseStreamOptions(RequestModel):
    """`stream_options`."""

    include_obfuscation: bool | None = None


class PromptFields(RequestModel):
    """What makes the prompt."""

    model: str | None = None
    input: Input | None = None
    instructions: str | None = None
    previous_response_id: ItemId | None = None
    conversation: ItemId | ConversationReference | None = None
    tools: ResponseTools | None = None
    tool_choice: ResponseToolChoice | None = None
    parallel_tool_calls: bool | None = None
    text: TextConfig | None = None
    reasoning: Reasoning | None = None
    truncation: Literal["auto", "disabled"] | None = None

    # of vLLM
    chat_template_kwargs: dict[str, Any] | None = None
    previous_input_messages: (
        Annotated[list[Message], pydantic.Field(max_length=MAX_MESSAGES)] | None
    ) = None

    @property
    def conversation_id(self) -> str | None:
        """`conversation`, whichever form it has."""
        given = self.conversation
        return given.id if isinstance(given, ConversationReference) else given


class InputTokensRequest(PromptFields):
    """The body of /v1/responses/input_tokens."""


class CompactRequest(RequestModel):
    """The body of /v1/responses/compact."""

    model: str | None = None
    input: Input | None = None
    instructions: str | None = None
    previous_response_id: ItemId | None = None
    prompt_cache_key: Annotated[str, pydantic.Field(max_length=1024)] | None = None
    prompt_cache_retention: Literal["in_memory", "in-memory"] | None = None
    service_tier: ServiceTier | None = None


class SamplingOfVLLM(RequestModel):
    """vLLM's fields of sampling, which chat completions have under the same names."""

    top_k: int | None = None
    min_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    repetition_penalty: float | None = None
    logit_bias: dict[str, float] | None = None
    seed: int | None = None
    stop: StopField = None
    stop_token_ids: Ids | None = None
    include_stop_str_in_output: bool | None = None
    ignore_eos: bool | None = None
    min_tokens: int | None = None
    skip_special_tokens: bool | None = None
    spaces_between_special_tokens: bool | None = None
    structured_outputs: StructuredOutputs | None = None
    include_reasoning: bool | None = None
    priority: int | None = None
    session_id: Annotated[str, pydantic.Field(max_length=1024)] | None = None
    cache_salt: Annotated[str, pydantic.Field(min_length=1, max_length=1024)] | None = None


class ResponsesRequest(PromptFields, SamplingOfVLLM):
    """The body. Fields of later versions are listed in `later.RESPONSES`."""

    # OpenAI's
    temperature: float | None = None
    top_p: float | None = None
    top_logprobs: Annotated[int, pydantic.Field(ge=0)] | None = None
    max_output_tokens: Annotated[int, pydantic.Field(ge=1, le=2**63 - 1)] | None = None
    max_tool_calls: Annotated[int, pydantic.Field(ge=1, le=2**31 - 1)] | None = None
    include: Annotated[list[Include], pydantic.Field(max_length=64)] | None = None
    stream: bool | None = False
    stream_options: ResponseStreamOptions | None = None
    store: bool | None = True
    background: bool | None = False
    metadata: Metadata | None = None
    service_tier: ServiceTier | None = None
    user: str | None = None
    safety_identifier: Annotated[str, pydantic.Field(max_length=64)] | None = None
    prompt_cache_key: Annotated[str, pydantic.Field(max_length=1024)] | None = None
    prompt_cache_retention: Literal["in_memory", "in-memory"] | None = None

    # vLLM's besides sampling
    request_id: Annotated[str, pydantic.Field(min_length=1, max_length=128)] | None = None
    enable_response_messages: bool | None = None

    # servax's
    event_dialect: Dialect | None = None
    tool_outputs_mode: Literal["continue", "hold"] | None = None

    @property
    def wants_logprobs(self) -> bool:
        """Of the output's text."""
        return "message.output_text.logprobs" in (self.include or ()) or bool(self.top_logprobs)


OF_VLLM = frozenset(SamplingOfVLLM.model_fields) | {
    "chat_template_kwargs",
    "previous_input_messages",
    "enable_response_messages",
    "request_id",
}
"""Fields that OpenAI does not have."""

OWN = frozenset({"event_dialect", "tool_outputs_mode"})
"""Fields that only servax has."""
