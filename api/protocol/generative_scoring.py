"""POST /generative_scoring (vLLM): how likely labels are to come next."""

from __future__ import annotations

from typing import Annotated, Literal

import pydantic

from api.protocol.base import RequestModel
from api.protocol.generate import PromptIds
from api.protocol.usage import Usage
from engine.request import MAX_LOGPROB_TOKEN_IDS

MAX_ITEMS = 1024


class GenerativeScoringRequest(RequestModel):
    """The body: each item makes a prompt with the query.

    Attributes:
        label_token_ids: whose probability is asked for; the score is the first one's.
        apply_softmax: among the labels alone; else among the whole vocabulary.
        item_first: the item stands before the query.
        add_special_tokens: to the query's text; items never get any.
    """

    model: str | None = None
    query: str | PromptIds
    items: Annotated[list[str] | list[PromptIds], pydantic.Field(min_length=1)]
    label_token_ids: Annotated[
        list[int], pydantic.Field(min_length=1, max_length=MAX_LOGPROB_TOKEN_IDS)
    ]
    apply_softmax: bool = True
    item_first: bool = False
    add_special_tokens: bool = True
    cache_salt: Annotated[str, pydantic.Field(min_length=1, max_length=1024)] | None = None
    priority: int | None = 0
    request_id: Annotated[str, pydantic.Field(min_length=1, max_length=128)] | None = None


class ItemScore(pydantic.BaseModel):
    """The score of one item."""

    index: int
    object: Literal["score"]
    score: float


class GenerativeScoringResponse(pydantic.BaseModel):
    """The scores, in the order of the items."""

    id: str
    object: Literal["list"]
    created: int
    model: str
    data: list[ItemScore]
    usage: Usage
