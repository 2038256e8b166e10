"""Files and uploads as OpenAI writes them."""

from __future__ import annotations

from typing import Annotated, Literal

import pydantic

from api.protocol.base import RequestModel

Purpose = Literal["assistants", "batch", "fine-tune", "vision", "user_data", "evals"]
UploadPurpose = Literal["assistants", "batch", "fine-tune", "vision", "user_data", "evals"]
AnyPurpose = Literal[
    "assistants",
    "assistants_output",
    "batch",
    "batch_output",
    "fine-tune",
    "fine-tune-results",
    "vision",
    "user_data",
    "evals",
]
MAX_FILENAME = 1024
MAX_PART_IDS = 10_000


class ExpiresAfter(RequestModel):
    """How long a file lives."""

    anchor: Literal["created_at"]
    seconds: Annotated[int, pydantic.Field(ge=3600, le=2_592_000)]


class CreateFileFields(RequestModel):
    """Fields of the form of POST /v1/files, beside `file`."""

    purpose: Purpose
    expires_after: ExpiresAfter | None = None


class CreateFileForm(CreateFileFields):
    """The form of POST /v1/files."""

    file: Annotated[str, pydantic.Field(json_schema_extra={"format": "binary"})]


class AddPartForm(RequestModel):
    """The form of POST /v1/uploads/{upload_id}/parts."""

    data: Annotated[str, pydantic.Field(json_schema_extra={"format": "binary"})]


class FileObject(pydantic.BaseModel):
    """A file."""

    id: str
    object: Literal["file"] = "file"
    bytes: int
    created_at: int
    expires_at: int | None = None
    filename: str
    purpose: str
    status: Literal["uploaded", "processed", "error"] = "processed"
    status_details: str | None = None


class FileList(pydantic.BaseModel):
    """A page of files."""

    object: Literal["list"]
    data: list[FileObject]
    first_id: str | None
    last_id: str | None
    has_more: bool


class DeletedFile(pydantic.BaseModel):
    """Answer of DELETE /v1/files/{file_id}."""

    id: str
    object: Literal["file"]
    deleted: bool


class FilesQuery(pydantic.BaseModel):
    """Query of GET /v1/files."""

    purpose: AnyPurpose | None = None
    limit: Annotated[int, pydantic.Field(ge=1, le=10_000)] = 10_000
    order: Literal["asc", "desc"] = "desc"
    after: str | None = None
    before: str | None = None


class CreateUploadRequest(RequestModel):
    """Body of POST /v1/uploads."""

    filename: Annotated[str, pydantic.Field(min_length=1, max_length=MAX_FILENAME)]
    purpose: UploadPurpose
    bytes: Annotated[int, pydantic.Field(ge=0, le=2**50)]
    mime_type: Annotated[str, pydantic.Field(min_length=1, max_length=256)]
    expires_after: ExpiresAfter | None = None


class CompleteUploadRequest(RequestModel):
    """Body of POST /v1/uploads/{upload_id}/complete."""

    part_ids: Annotated[list[str], pydantic.Field(max_length=MAX_PART_IDS)]
    md5: Annotated[str, pydantic.Field(max_length=64)] | None = None


class UploadObject(pydantic.BaseModel):
    """An upload."""

    id: str
    object: Literal["upload"] = "upload"
    bytes: int
    created_at: int
    filename: str
    purpose: str
    status: Literal["pending", "completed", "cancelled", "expired"]
    expires_at: int
    file: FileObject | None = None


class UploadPartObject(pydantic.BaseModel):
    """A part of an upload."""

    id: str
    object: Literal["upload.part"] = "upload.part"
    created_at: int
    upload_id: str
