"""The messages of a conversation. Parts that are not text are refused in `later_fields`."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import pydantic

from api.protocol.base import RequestModel, by_type

MAX_MESSAGES = 16_384
Role = Literal["system", "developer", "user", "assistant", "tool", "function"]


class TextPart(RequestModel):
    """A piece of text; `refusal` parts of an assistant's earlier answer are text too."""

    unnoticed: ClassVar[frozenset[str]] = frozenset(
        {"annotations", "logprobs", "parsed", "prompt_cache_breakpoint"}
    )

    type: Literal["text", "input_text", "output_text", "refusal"]
    text: str = ""
    refusal: str = ""

    @pydantic.model_validator(mode="after")
    def _holds_its_text(self) -> TextPart:
        name = "refusal" if self.type == "refusal" else "text"
        if name not in self.model_fields_set:
            raise ValueError(f"{name} is required in a part of type '{self.type}'")
        return self

    @property
    def plain_text(self) -> str:
        """The part's text, whichever field holds it."""
        return self.refusal if self.type == "refusal" else self.text


class FunctionCall(RequestModel):
    """A call of a function: `arguments` is a JSON text."""

    unnoticed: ClassVar[frozenset[str]] = frozenset({"parsed_arguments"})

    name: str
    arguments: str = "{}"


class FunctionToolCall(RequestModel):
    """A call of a function that the assistant made earlier in the conversation."""

    unnoticed: ClassVar[frozenset[str]] = frozenset({"index"})

    id: str = ""
    type: Literal["function"] = "function"
    function: FunctionCall


class CustomCall(RequestModel):
    """A call of a custom tool: `input` is any text."""

    name: str
    input: str


class CustomToolCall(RequestModel):
    """A call of a custom tool that the assistant made earlier in the conversation."""

    unnoticed: ClassVar[frozenset[str]] = frozenset({"index"})

    id: str = ""
    type: Literal["custom"]
    custom: CustomCall


ToolCall = Annotated[
    Annotated[FunctionToolCall, pydantic.Tag("T:function")]
    | Annotated[CustomToolCall, pydantic.Tag("T:custom")],
    by_type("function", "custom"),
]


class Message(RequestModel):
    """One message. `reasoning` and `reasoning_content` are two spellings of vLLM's extra field."""

    unnoticed: ClassVar[frozenset[str]] = frozenset({"annotations", "audio", "parsed"})

    role: Role
    content: str | list[TextPart] | None = None
    name: str | None = None
    tool_call_id: str | None = None
    tool_calls: list[ToolCall] | None = None
    function_call: FunctionCall | None = None
    refusal: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None

    @pydantic.model_validator(mode="after")
    def _has_something(self) -> Message:
        has_calls = bool(self.tool_calls) or self.function_call is not None
        if self.content is None and self.role != "assistant":
            raise ValueError("content is required for this role")
        texts = (self.content, self.refusal, self.reasoning, self.reasoning_content)
        if not has_calls and all(text is None for text in texts):
            others = "tool_calls, function_call, refusal or reasoning"
            raise ValueError(f"content is required unless {others} is given")
        return self
