"""Items: what a conversation is made of in the Responses API."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import pydantic

from api.protocol.base import ItemId, RequestModel, by_type
from api.protocol.messages import TextPart
from api.protocol.responses.mcp import (
    McpApprovalRequestItem,
    McpApprovalResponseItem,
    McpCallItem,
    McpListToolsItem,
)

MAX_ITEMS = 16_384
MAX_ID_CHARACTERS = 128

CallId = Annotated[str, pydantic.Field(min_length=1, max_length=MAX_ID_CHARACTERS)]
Status = Literal["in_progress", "completed", "incomplete"]


class MessageItem(RequestModel):
    """A message, by whomever; `type` may be missing."""

    unnoticed: ClassVar[frozenset[str]] = frozenset({"created_by"})

    type: Literal["message"] = "message"
    role: Literal["user", "assistant", "system", "developer"]
    content: str | list[TextPart]
    id: ItemId | None = None
    status: Status | None = None
    phase: Literal["commentary", "final_answer"] | None = None


class ReasoningText(RequestModel):
    """A piece of thoughts, or of a summary of them."""

    type: Literal["reasoning_text", "summary_text"]
    text: str


class ReasoningItem(RequestModel):
    """What the model thought; `encrypted_content` stands for `content` where that is missing."""

    unnoticed: ClassVar[frozenset[str]] = frozenset({"created_by"})

    type: Literal["reasoning"]
    summary: list[ReasoningText] | None = None
    content: list[ReasoningText] | None = None
    encrypted_content: str | None = None
    id: ItemId | None = None
    status: Status | None = None


class FunctionCallItem(RequestModel):
    """A call of a function; `arguments` is a JSON text."""

    unnoticed: ClassVar[frozenset[str]] = frozenset(
        {"caller", "created_by", "namespace", "parsed_arguments"}
    )

    type: Literal["function_call"]
    call_id: CallId
    name: Annotated[str, pydantic.Field(min_length=1, max_length=256)]
    arguments: str
    id: ItemId | None = None
    status: Status | None = None


class CustomCallItem(RequestModel):
    """A call of a custom tool; `input` is any text."""

    unnoticed: ClassVar[frozenset[str]] = frozenset({"caller", "created_by", "namespace"})

    type: Literal["custom_tool_call"]
    call_id: CallId
    name: Annotated[str, pydantic.Field(min_length=1, max_length=256)]
    input: str
    id: ItemId | None = None
    status: Status | None = None


class CallOutputItem(RequestModel):
    """What a call gave."""

    unnoticed: ClassVar[frozenset[str]] = frozenset({"caller", "created_by", "name", "namespace"})

    type: Literal["function_call_output", "custom_tool_call_output"]
    call_id: CallId
    output: str | list[TextPart]
    id: ItemId | None = None
    status: Status | None = None


class CompactionItem(RequestModel):
    """What `/v1/responses/compact` made of the conversation before it."""

    unnoticed: ClassVar[frozenset[str]] = frozenset({"created_by"})

    type: Literal["compaction"]
    encrypted_content: str
    id: ItemId | None = None


class ItemReference(RequestModel):
    """A stored item, by its id."""

    type: Literal["item_reference"]
    id: ItemId


InputItem = Annotated[
    Annotated[MessageItem, pydantic.Tag("T:message")]
    | Annotated[ReasoningItem, pydantic.Tag("T:reasoning")]
    | Annotated[FunctionCallItem, pydantic.Tag("T:function_call")]
    | Annotated[CustomCallItem, pydantic.Tag("T:custom_tool_call")]
    | Annotated[CallOutputItem, pydantic.Tag("T:function_call_output")]
    | Annotated[CallOutputItem, pydantic.Tag("T:custom_tool_call_output")]
    | Annotated[CompactionItem, pydantic.Tag("T:compaction")]
    | Annotated[McpListToolsItem, pydantic.Tag("T:mcp_list_tools")]
    | Annotated[McpCallItem, pydantic.Tag("T:mcp_call")]
    | Annotated[McpApprovalRequestItem, pydantic.Tag("T:mcp_approval_request")]
    | Annotated[McpApprovalResponseItem, pydantic.Tag("T:mcp_approval_response")]
    | Annotated[ItemReference, pydantic.Tag("T:item_reference")],
    by_type(
        "message",
        "reasoning",
        "function_call",
        "custom_tool_call",
        "function_call_output",
        "custom_tool_call_output",
        "compaction",
        "mcp_list_tools",
        "mcp_call",
        "mcp_approval_request",
        "mcp_approval_response",
        "item_reference",
    ),
]
Input = str | Annotated[list[InputItem], pydantic.Field(max_length=MAX_ITEMS)]

ITEMS: pydantic.TypeAdapter[list[InputItem]] = pydantic.TypeAdapter(
    list[InputItem], config=pydantic.ConfigDict(strict=True)
)
"""Reads items that were stored."""


def input_items(given: Input | None) -> list[InputItem]:
    """`input` as items: a text is a message of the user."""
    if given is None:
        return []
    return [MessageItem(role="user", content=given)] if isinstance(given, str) else given


def stored_form(item: InputItem) -> dict[str, Any]:
    """An item as it is kept and shown; its id is the caller's to give."""
    shown = item.model_dump(exclude_none=True)
    if isinstance(item, MessageItem):
        shown["content"] = _parts(item)
    if isinstance(item, ReasoningItem):
        shown.setdefault("summary", [])
    if "status" in type(item).model_fields:
        shown.setdefault("status", "completed")
    return shown


def _parts(message: MessageItem) -> list[dict[str, Any]]:
    kind = "output_text" if message.role == "assistant" else "input_text"
    if isinstance(message.content, str):
        return [_part(kind, message.content)]
    return [
        {"type": "refusal", "refusal": part.refusal}
        if part.type == "refusal"
        else _part(kind if part.type == "text" else part.type, part.text)
        for part in message.content
    ]


def _part(kind: str, text: str) -> dict[str, Any]:
    part: dict[str, Any] = {"type": kind, "text": text}
    return part | {"annotations": []} if kind == "output_text" else part
