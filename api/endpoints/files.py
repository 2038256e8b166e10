"""Rows of files and uploads in the table of endpoints."""

from __future__ import annotations

from api.endpoints.endpoint import Endpoint

FORM = "multipart/form-data"
TAG = "Files"

FILES = (
    Endpoint(
        method="POST",
        path="/v1/files",
        summary="Upload a file.",
        tag=TAG,
        body="api.protocol.files:CreateFileForm",
        body_media=FORM,
        response="api.protocol.files:FileObject",
    ),
    Endpoint(
        method="GET",
        path="/v1/files",
        summary="Files, in pages.",
        tag=TAG,
        query="api.protocol.files:FilesQuery",
        response="api.protocol.files:FileList",
    ),
    Endpoint(
        method="GET",
        path="/v1/files/{file_id}",
        summary="One file.",
        tag=TAG,
        response="api.protocol.files:FileObject",
    ),
    Endpoint(
        method="DELETE",
        path="/v1/files/{file_id}",
        summary="Delete a file.",
        tag=TAG,
        response="api.protocol.files:DeletedFile",
    ),
    Endpoint(
        method="GET",
        path="/v1/files/{file_id}/content",
        summary="The bytes of a file, or a range of them.",
        tag=TAG,
        media="application/octet-stream",
    ),
    Endpoint(
        method="POST",
        path="/v1/uploads",
        summary="Begin a file in parts.",
        tag=TAG,
        body="api.protocol.files:CreateUploadRequest",
        response="api.protocol.files:UploadObject",
    ),
    Endpoint(
        method="POST",
        path="/v1/uploads/{upload_id}/parts",
        summary="Add a part.",
        tag=TAG,
        body="api.protocol.files:AddPartForm",
        body_media=FORM,
        response="api.protocol.files:UploadPartObject",
    ),
    Endpoint(
        method="POST",
        path="/v1/uploads/{upload_id}/complete",
        summary="Make the parts a file.",
        tag=TAG,
        body="api.protocol.files:CompleteUploadRequest",
        response="api.protocol.files:UploadObject",
    ),
    Endpoint(
        method="POST",
        path="/v1/uploads/{upload_id}/cancel",
        summary="End an upload without a file.",
        tag=TAG,
        response="api.protocol.files:UploadObject",
    ),
)
