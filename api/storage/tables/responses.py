"""Responses, their items and their events; conversations hold items of the same kind."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Boolean, Index, Integer, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from api.storage.base import ID, Base, Json
from api.storage.leases import LeasedRow
from api.storage.owned import OwnedRow


class ResponseRow(LeasedRow):
    """One response, which is a job while it is made.

    Attributes:
        status: OpenAI's, as in `body`.
        key_id: of the key that made it: what its tokens are counted by.
        body: the response object as it was last written.
        request: the body of the request, for whoever takes it over or continues it.
        parent_id: `previous_response_id`.
        ancestors: ids of all responses before it, oldest first.
        num_before: it builds on what was in the conversation when this was its next position.
        is_deleted: gone for its owner; kept while later responses build on it.
        has_events: its stream can be read again.
        outputs: what tools gave so far, by `call_id`.
        continued_by: the response that those made.
        usage: tokens as of the last write, for whoever ends it before its time.
        is_cancelled: whoever makes it is to end it.
    """

    __tablename__ = "responses"

    status: Mapped[str] = mapped_column(String(16))
    key_id: Mapped[str] = mapped_column(ID)
    body: Mapped[dict[str, Any]] = mapped_column(Json)
    request: Mapped[dict[str, Any]] = mapped_column(Json)
    parent_id: Mapped[str | None] = mapped_column(ID, index=True)
    ancestors: Mapped[list[str]] = mapped_column(Json)
    conversation_id: Mapped[str | None] = mapped_column(ID)
    num_before: Mapped[int] = mapped_column(Integer, default=0)
    is_background: Mapped[bool] = mapped_column(Boolean)
    is_deleted: Mapped[bool] = mapped_column(Boolean, default=False)
    has_events: Mapped[bool] = mapped_column(Boolean)
    outputs: Mapped[dict[str, Any]] = mapped_column(Json, default=dict)
    continued_by: Mapped[str | None] = mapped_column(ID)
    usage: Mapped[dict[str, Any] | None] = mapped_column(Json)
    is_cancelled: Mapped[bool] = mapped_column(Boolean, default=False)


Index(None, ResponseRow.conversation_id, ResponseRow.num_before)


class ItemRow(Base):
    """One item of a response or of a conversation.

    Attributes:
        holder_id: of the response or conversation.
        position: its place there, from 0.
        item_id: what clients call it; the same item may be held by several.
        is_output: the model made it, in that response.
        removed_at: it is nobody's any more, and stays for the responses that were made of it. Of a
            conversation: the position that its removal took; responses with a `num_before` in
            [position + 1, removed_at] were made of it. Of a deleted response: 0.
    """

    __tablename__ = "items"
    __table_args__ = (Index(None, "project_id", "item_id"),)

    holder_id: Mapped[str] = mapped_column(ID, primary_key=True)
    position: Mapped[int] = mapped_column(Integer, primary_key=True)
    project_id: Mapped[str] = mapped_column(ID)
    item_id: Mapped[str] = mapped_column(ID)
    is_output: Mapped[bool] = mapped_column(Boolean)
    body: Mapped[dict[str, Any]] = mapped_column(Json)
    removed_at: Mapped[int | None] = mapped_column(Integer)


class RemovedItemRow(Base):
    """Where an item of a conversation was, for who removes items while going through their list."""

    __tablename__ = "removed_items"

    holder_id: Mapped[str] = mapped_column(ID, primary_key=True)
    item_id: Mapped[str] = mapped_column(ID, primary_key=True)
    position: Mapped[int] = mapped_column(Integer)


class EventsRow(Base):
    """Events of a response, in order: [first, first + count).

    Attributes:
        data: a JSON object a line, compressed by zlib.
    """

    __tablename__ = "response_events"

    response_id: Mapped[str] = mapped_column(ID, primary_key=True)
    first: Mapped[int] = mapped_column(Integer, primary_key=True)
    count: Mapped[int] = mapped_column(Integer)
    data: Mapped[bytes] = mapped_column(LargeBinary)


class ConversationRow(OwnedRow):
    """One conversation.

    Attributes:
        tags: OpenAI's `metadata`.
        num_positions: the position of the next item. Removing one takes a position too, so each
            number is a moment, and names all that was in the conversation then.
    """

    __tablename__ = "conversations"

    tags: Mapped[dict[str, str]] = mapped_column(Json)
    num_positions: Mapped[int] = mapped_column(Integer, default=0)
