"""Stored chat completions, and their metadata to search by."""

from __future__ import annotations

from typing import Any

from sqlalchemy.orm import Mapped, mapped_column

from api.storage.base import ID, Base, FreeText, Json
from api.storage.owned import OwnedRow


class ChatCompletionRow(OwnedRow):
    """One chat completion.

    Attributes:
        body: the answer, without its metadata.
        messages: of the request, as the client sent them.
        tags: OpenAI's `metadata`.
    """

    __tablename__ = "chat_completions"

    model: Mapped[str] = mapped_column(FreeText)
    body: Mapped[dict[str, Any]] = mapped_column(Json)
    messages: Mapped[list[dict[str, Any]]] = mapped_column(Json)
    tags: Mapped[dict[str, str]] = mapped_column(Json)


class ChatCompletionTagRow(Base):
    """One pair of a completion's metadata."""

    __tablename__ = "chat_completion_tags"

    completion_id: Mapped[str] = mapped_column(ID, primary_key=True)
    key: Mapped[str] = mapped_column(FreeText, primary_key=True)
    value: Mapped[str] = mapped_column(FreeText)
