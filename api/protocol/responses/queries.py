"""Queries of URLs: of responses, of conversations, of stored chat completions."""

from __future__ import annotations

from typing import Annotated, Literal

import pydantic

from api.protocol.management import Switch
from api.protocol.responses.request import Include

MAX_LIMIT = 100


class ItemsQuery(pydantic.BaseModel):
    """Of lists of items.

    Attributes:
        after: the id of the item before the first one wanted.
    """

    limit: Annotated[int, pydantic.Field(ge=1, le=MAX_LIMIT)] = 20
    order: Literal["asc", "desc"] = "desc"
    after: str | None = None
    before: str | None = None
    include: list[Include] | None = None


class RetrieveQuery(pydantic.BaseModel):
    """Of GET /v1/responses/{response_id}.

    Attributes:
        starting_after: with `stream`, the number of the last event that the client has.
    """

    include: list[Include] | None = None
    stream: Switch = False
    starting_after: Annotated[int, pydantic.Field(ge=0, le=2**53)] | None = None
    include_obfuscation: Switch = False


class IncludeQuery(pydantic.BaseModel):
    """Of routes that only may say what to include."""

    include: list[Include] | None = None


class CompletionsQuery(pydantic.BaseModel):
    """Of GET /v1/chat/completions; `metadata[key]=value` may be given too."""

    limit: Annotated[int, pydantic.Field(ge=1, le=MAX_LIMIT)] = 20
    order: Literal["asc", "desc"] = "asc"
    after: str | None = None
    model: str | None = None


class MessagesQuery(pydantic.BaseModel):
    """Of GET /v1/chat/completions/{completion_id}/messages."""

    limit: Annotated[int, pydantic.Field(ge=1, le=MAX_LIMIT)] = 20
    order: Literal["asc", "desc"] = "asc"
    after: str | None = None
