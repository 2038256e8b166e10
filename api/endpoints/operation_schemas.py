"""Answers of the endpoints that operators ask, and bodies of several kinds, as pydantic models for
the OpenAPI document."""

from __future__ import annotations

import pydantic

from api.protocol.chat import ChatCompletionRequest
from api.protocol.completions import CompletionRequest
from api.protocol.generate import GenerateTokensRequest


class Version(pydantic.BaseModel):
    """Answer of GET /version."""

    version: str


class ServerLoad(pydantic.BaseModel):
    """Answer of GET /load: requests using the engine or waiting for it."""

    server_load: int = pydantic.Field(ge=0)


class ErrorDetail(pydantic.BaseModel):
    """What went wrong.

    Attributes:
        code: OpenAI's string code, or with `--error-format vllm` the HTTP status.
    """

    message: str
    type: str
    param: str | None
    code: str | int | None


class AnthropicErrorDetail(pydantic.BaseModel):
    """What went wrong, in Anthropic's words."""

    type: str
    message: str


class AnthropicErrorEnvelope(pydantic.BaseModel):
    """The body of every answer of Anthropic's API that is not success."""

    type: str
    error: AnthropicErrorDetail


class ErrorEnvelope(pydantic.BaseModel):
    """The body of every answer that is not success."""

    error: ErrorDetail


class InvocationRequest(
    pydantic.RootModel[ChatCompletionRequest | CompletionRequest | GenerateTokensRequest]
):
    """The body of /invocations; a field that only one of them has tells which it is."""
