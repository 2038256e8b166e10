"""Answers of the Responses API, for the OpenAPI document."""

from __future__ import annotations

from typing import Any, Literal

import pydantic

Status = Literal["completed", "failed", "in_progress", "cancelled", "queued", "incomplete"]


class InputDetails(pydantic.BaseModel):
    """Of the prompt's tokens: how many were found in the prefix cache."""

    cached_tokens: int
    cache_write_tokens: int
    input_tokens_per_turn: list[int]
    cached_tokens_per_turn: list[int]


class OutputDetails(pydantic.BaseModel):
    """Of the output's tokens: how many are thoughts."""

    reasoning_tokens: int
    tool_output_tokens: int
    output_tokens_per_turn: list[int]
    tool_output_tokens_per_turn: list[int]


class ResponseUsage(pydantic.BaseModel):
    """Tokens of a response."""

    input_tokens: int
    input_tokens_details: InputDetails
    output_tokens: int
    output_tokens_details: OutputDetails
    total_tokens: int


class ResponseError(pydantic.BaseModel):
    """Why a response failed."""

    code: str
    message: str


class IncompleteDetails(pydantic.BaseModel):
    """Why an answer is not complete."""

    reason: Literal["max_output_tokens", "repetition_detected", "tool_outputs_timeout"]


class ConversationId(pydantic.BaseModel):
    """The conversation that a response is part of."""

    id: str


class ResponseObject(pydantic.BaseModel):
    """A response, at any time of its life."""

    id: str
    object: Literal["response"]
    created_at: int
    completed_at: int | None
    status: Status
    error: ResponseError | None
    incomplete_details: IncompleteDetails | None
    model: str
    output: list[dict[str, Any]]
    usage: ResponseUsage | None
    background: bool
    conversation: ConversationId | None
    instructions: str | None
    max_output_tokens: int | None
    max_tool_calls: int | None
    metadata: dict[str, str]
    parallel_tool_calls: bool
    previous_response_id: str | None
    prompt: None
    prompt_cache_key: str | None
    prompt_cache_retention: str | None
    reasoning: dict[str, Any]
    safety_identifier: str | None
    service_tier: str
    store: bool
    temperature: float
    top_p: float
    presence_penalty: float
    frequency_penalty: float
    text: dict[str, Any]
    tool_choice: str | dict[str, Any]
    tools: list[dict[str, Any]]
    top_logprobs: int
    truncation: Literal["auto", "disabled"]
    user: str | None
    input_messages: list[dict[str, Any]] | None = None
    output_messages: list[dict[str, Any]] | None = None


class DeletedResponse(pydantic.BaseModel):
    """Answer of a deletion."""

    id: str
    object: Literal["response"]
    deleted: bool


class ItemList(pydantic.BaseModel):
    """One page of items."""

    object: Literal["list"]
    data: list[dict[str, Any]]
    first_id: str | None
    last_id: str | None
    has_more: bool


class InputTokens(pydantic.BaseModel):
    """Tokens of a prompt."""

    object: Literal["response.input_tokens"]
    input_tokens: int


class Compaction(pydantic.BaseModel):
    """A shorter window."""

    id: str
    object: Literal["response.compaction"]
    created_at: int
    output: list[dict[str, Any]]
    usage: ResponseUsage
