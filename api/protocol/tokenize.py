"""POST /tokenize and /detokenize (vLLM's, with lists besides)."""

from __future__ import annotations

from typing import Annotated, Any

import pydantic

from api.protocol.base import RequestModel, TokenIds
from api.protocol.messages import MAX_MESSAGES, Message
from api.protocol.tools import Tools

MAX_TEXTS = 1024
TokenIdLists = Annotated[list[TokenIds], pydantic.Field(max_length=MAX_TEXTS, fail_fast=True)]


class TokenizeRequest(RequestModel):
    """Either `prompt` or `messages`.

    Attributes:
        add_special_tokens: default true for a prompt, false for messages (the template has them).
    """

    model: str | None = None
    prompt: (
        str | Annotated[list[str], pydantic.Field(min_length=1, max_length=MAX_TEXTS)] | None
    ) = None
    messages: (
        Annotated[list[Message], pydantic.Field(min_length=1, max_length=MAX_MESSAGES)] | None
    ) = None
    add_special_tokens: bool | None = None
    return_token_strs: bool | None = False
    add_generation_prompt: bool = True
    continue_final_message: bool = False
    chat_template: str | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    tools: Tools | None = None


class TokenizeResponse(pydantic.BaseModel):
    """Token ids; a list for each prompt when the prompt was a list (`count` is their sum)."""

    count: int
    max_model_len: int
    tokens: list[int] | list[list[int]]
    token_strs: list[str] | list[list[str]] | None


class DetokenizeRequest(RequestModel):
    """Token ids of one text, or of several."""

    model: str | None = None
    tokens: TokenIds | TokenIdLists


class DetokenizeResponse(pydantic.BaseModel):
    """The text; a list of texts when `tokens` was a list of lists."""

    prompt: str | list[str]


class TokenizerInfo(pydantic.BaseModel):
    """tokenizer_config.json, whatever else it holds."""

    model_config = pydantic.ConfigDict(extra="allow")

    tokenizer_class: str
    chat_template: str | None
