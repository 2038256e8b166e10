"""Answers of the endpoints that operators ask, as pydantic models for the OpenAPI document."""

from __future__ import annotations

import pydantic


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
