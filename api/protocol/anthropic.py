"""POST /v1/messages and /v1/messages/count_tokens: Anthropic's Messages API.

Source: Anthropic's API reference and the types of its Python SDK. Field names are theirs.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import pydantic

from api.protocol.base import RequestModel, Texts, by_type
from api.protocol.messages import MAX_MESSAGES
from api.protocol.tools import MAX_TOOLS, ToolName


class TextBlock(RequestModel):
    """Text. `cache_control` and `citations` ask for nothing that does not happen anyway: every
    prompt is cached by its prefix."""

    unnoticed: ClassVar[frozenset[str]] = frozenset({"cache_control", "citations", "parsed_output"})

    type: Literal["text"] = "text"
    text: str


class ThinkingBlock(RequestModel):
    """What the assistant thought in an earlier turn."""

    type: Literal["thinking"]
    thinking: str
    signature: str | None = None


class RedactedThinkingBlock(RequestModel):
    """Thoughts of another model that only its maker can read: no model is shown them."""

    type: Literal["redacted_thinking"]
    data: str


class ToolUseBlock(RequestModel):
    """A call that the assistant made in an earlier turn."""

    unnoticed: ClassVar[frozenset[str]] = frozenset({"cache_control", "caller"})

    type: Literal["tool_use"]
    id: str
    name: ToolName
    input: dict[str, Any]


ResultContent = str | list[TextBlock]


class ToolResultBlock(RequestModel):
    """What a call gave.

    Attributes:
        is_error: the model is told so by the word "Error" before the content.
    """

    unnoticed: ClassVar[frozenset[str]] = frozenset({"cache_control"})

    type: Literal["tool_result"]
    tool_use_id: str
    content: ResultContent | None = None
    is_error: bool | None = None


Block = Annotated[
    Annotated[TextBlock, pydantic.Tag("T:text")]
    | Annotated[ThinkingBlock, pydantic.Tag("T:thinking")]
    | Annotated[RedactedThinkingBlock, pydantic.Tag("T:redacted_thinking")]
    | Annotated[ToolUseBlock, pydantic.Tag("T:tool_use")]
    | Annotated[ToolResultBlock, pydantic.Tag("T:tool_result")],
    by_type("text", "thinking", "redacted_thinking", "tool_use", "tool_result"),
]


class MessageParam(RequestModel):
    """One turn."""

    role: Literal["user", "assistant", "system"]
    content: str | list[Block]


class ToolParam(RequestModel):
    """A tool of the client's; tools that run on Anthropic's servers are refused."""

    unnoticed: ClassVar[frozenset[str]] = frozenset({"cache_control", "eager_input_streaming"})

    name: ToolName
    input_schema: dict[str, Any]
    description: str | None = None
    type: Literal["custom"] | None = None
    strict: bool | None = None


class ToolChoiceParam(RequestModel):
    """Which tools may or must be used."""

    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class ThinkingParam(RequestModel):
    """Whether the model thinks first, and for how many tokens at most."""

    type: Literal["enabled", "disabled", "adaptive"]
    budget_tokens: Annotated[int, pydantic.Field(ge=1, le=2**31 - 1)] | None = None
    display: Literal["summarized", "omitted"] | None = None


class JsonFormat(RequestModel):
    """An answer that is JSON of a schema."""

    model_config = pydantic.ConfigDict(strict=True, extra="ignore", populate_by_name=True)

    type: Literal["json_schema"]
    json_schema: Annotated[dict[str, Any], pydantic.Field(alias="schema")]


class OutputConfig(RequestModel):
    """How much effort, and which form."""

    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = None
    format: JsonFormat | None = None


class MessageMetadata(RequestModel):
    """Who asks."""

    user_id: str | None = None


class PromptFields(RequestModel):
    """What makes the prompt."""

    model: str
    messages: Annotated[list[MessageParam], pydantic.Field(min_length=1, max_length=MAX_MESSAGES)]
    system: str | list[TextBlock] | None = None
    tools: Annotated[list[ToolParam], pydantic.Field(max_length=MAX_TOOLS)] | None = None
    tool_choice: ToolChoiceParam | None = None
    thinking: ThinkingParam | None = None
    output_config: OutputConfig | None = None
    chat_template_kwargs: dict[str, Any] | None = None


class CountTokensRequest(PromptFields):
    """The body of /v1/messages/count_tokens."""


class MessagesRequest(PromptFields):
    """The body of /v1/messages."""

    max_tokens: Annotated[int, pydantic.Field(ge=1, le=2**63 - 1)]
    stream: bool | None = False
    stop_sequences: Texts | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    metadata: MessageMetadata | None = None
    service_tier: Literal["auto", "standard_only"] | None = None
    cache_salt: Annotated[str, pydantic.Field(min_length=1, max_length=1024)] | None = None


class MessageUsage(pydantic.BaseModel):
    """Tokens; the prompt's are those of `input_tokens` and `cache_read_input_tokens` together."""

    input_tokens: int
    output_tokens: int
    cache_creation_input_tokens: int
    cache_read_input_tokens: int


class MessageResponse(pydantic.BaseModel):
    """The answer when `stream` is false."""

    id: str
    type: Literal["message"]
    role: Literal["assistant"]
    content: list[dict[str, Any]]
    model: str
    stop_reason: Literal["end_turn", "max_tokens", "stop_sequence", "tool_use", "pause_turn"] | None
    stop_sequence: str | None
    usage: MessageUsage


class CountedContext(pydantic.BaseModel):
    """Tokens before anything was edited out of the conversation, which never happens here."""

    original_input_tokens: int


class CountTokensResponse(pydantic.BaseModel):
    """Tokens of the prompt."""

    input_tokens: int
    context_management: CountedContext
