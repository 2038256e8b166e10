"""Batches as OpenAI writes them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pydantic

from api.protocol.base import Metadata, RequestModel
from api.protocol.files import ExpiresAfter

BatchEndpoint = Literal["/v1/chat/completions", "/v1/completions", "/v1/responses"]
BatchStatus = Literal[
    "validating",
    "failed",
    "in_progress",
    "finalizing",
    "completed",
    "expired",
    "cancelling",
    "cancelled",
]


class CreateBatchRequest(RequestModel):
    """Body of POST /v1/batches."""

    input_file_id: Annotated[str, pydantic.Field(min_length=1, max_length=128)]
    endpoint: BatchEndpoint
    completion_window: Literal["24h"]
    metadata: Metadata | None = None
    output_expires_after: ExpiresAfter | None = None


class BatchError(pydantic.BaseModel):
    """Why a line makes its batch fail; lines are counted from 1."""

    code: str | None
    message: str
    param: str | None
    line: int | None


class BatchErrors(pydantic.BaseModel):
    """All of them."""

    object: Literal["list"]
    data: list[BatchError]


class BatchCounts(pydantic.BaseModel):
    """Lines of a batch."""

    total: int
    completed: int
    failed: int


class BatchObject(pydantic.BaseModel):
    """A batch."""

    id: str
    object: Literal["batch"]
    endpoint: str
    model: str | None
    errors: BatchErrors | None
    input_file_id: str
    completion_window: str
    status: BatchStatus
    output_file_id: str | None
    error_file_id: str | None
    created_at: int
    in_progress_at: int | None
    expires_at: int
    finalizing_at: int | None
    completed_at: int | None
    failed_at: int | None
    expired_at: int | None
    cancelling_at: int | None
    cancelled_at: int | None
    request_counts: BatchCounts
    usage: dict[str, Any] | None
    metadata: dict[str, str] | None


class BatchList(pydantic.BaseModel):
    """A page of batches."""

    object: Literal["list"]
    data: list[BatchObject]
    first_id: str | None
    last_id: str | None
    has_more: bool


class BatchesQuery(pydantic.BaseModel):
    """Query of GET /v1/batches."""

    limit: Annotated[int, pydantic.Field(ge=1, le=100)] = 20
    after: str | None = None
    before: str | None = None
    order: Literal["asc", "desc"] = "desc"
