"""Stored chat completions: what clients send and get."""

from __future__ import annotations

from typing import Any, Literal

import pydantic

from api.protocol.base import Metadata, RequestModel
from api.protocol.chat import ChatCompletionResponse


class UpdateChatCompletionRequest(RequestModel):
    """The body of POST /v1/chat/completions/{completion_id}: all metadata there will be."""

    metadata: Metadata | None


class ChatCompletionList(pydantic.BaseModel):
    """One page of stored completions."""

    object: Literal["list"]
    data: list[ChatCompletionResponse]
    first_id: str | None
    last_id: str | None
    has_more: bool


class StoredMessages(pydantic.BaseModel):
    """One page of the messages of a request."""

    object: Literal["list"]
    data: list[dict[str, Any]]
    first_id: str | None
    last_id: str | None
    has_more: bool


class DeletedChatCompletion(pydantic.BaseModel):
    """Answer of a deletion."""

    id: str
    object: Literal["chat.completion.deleted"]
    deleted: bool
