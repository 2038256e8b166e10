"""Conversations: what clients send and get."""

from __future__ import annotations

from typing import Annotated, Literal

import pydantic

from api.protocol.base import Metadata, RequestModel
from api.protocol.responses.items import InputItem

MAX_NEW_ITEMS = 20

NewItems = Annotated[list[InputItem], pydantic.Field(max_length=MAX_NEW_ITEMS)]


class CreateConversationRequest(RequestModel):
    """The body of POST /v1/conversations."""

    metadata: Metadata | None = None
    items: NewItems | None = None


class UpdateConversationRequest(RequestModel):
    """The body of POST /v1/conversations/{conversation_id}: all metadata there will be."""

    metadata: Metadata | None


class CreateItemsRequest(RequestModel):
    """The body of POST /v1/conversations/{conversation_id}/items."""

    items: NewItems


class Conversation(pydantic.BaseModel):
    """A conversation; its items are listed apart."""

    id: str
    object: Literal["conversation"]
    created_at: int
    metadata: dict[str, str]


class DeletedConversation(pydantic.BaseModel):
    """Answer of a deletion."""

    id: str
    object: Literal["conversation.deleted"]
    deleted: bool
