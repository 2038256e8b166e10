"""Routes of files and uploads."""

from __future__ import annotations

from typing import Any, cast

import orjson
from quart import Blueprint, Response, request

from api.context import caller, server_state, storage
from api.http.json_body import read_json_object
from api.http.multipart import FormReader
from api.http.query import read_query
from api.http.request_body import ServerRequest
from api.idempotency import answered, id_of
from api.keys.auth import without_engine
from api.protocol.files import FilesQuery
from api.resources.answers import json_response
from api.services.files import create, names, read, remove, uploads

blueprint = Blueprint("files", __name__)

FORM_BYTES = 2**20
"""What a form may have beside its file."""


@blueprint.post("/v1/files")
@without_engine
async def create_file() -> Response:
    """Upload a file."""
    form = _form(server_state().settings.max_file_bytes)
    return _shown(
        await create.create_file(storage(), caller().project_id, form, strict_fields=_strict())
    )


@blueprint.get("/v1/files")
async def list_files() -> Response:
    """Files, in pages."""
    query = read_query(request, FilesQuery)
    return _shown(await read.list_files(storage(), caller().project_id, query))


@blueprint.get("/v1/files/<file_id>")
async def retrieve_file(file_id: str) -> Response:
    """One file."""
    row = await read.load_file(storage(), caller().project_id, file_id)
    return _shown(names.file_body(row))


@blueprint.delete("/v1/files/<file_id>")
async def delete_file(file_id: str) -> Response:
    """Delete a file."""
    return _shown(await remove.delete_file(storage(), caller().project_id, file_id))


@blueprint.get("/v1/files/<file_id>/content")
async def file_content(file_id: str) -> Response:
    """The bytes of a file, or a range of them."""
    project_id = caller().project_id
    found = await read.content(storage(), project_id, file_id, request.method, request.headers)
    return Response(found.pieces, status=found.status, headers=found.headers)


@blueprint.post("/v1/uploads")
@without_engine
async def create_upload() -> Response:
    """Begin a file in parts."""
    body = await read_json_object(request)
    max_bytes = server_state().settings.max_file_bytes
    made = await uploads.create_upload(
        storage(),
        caller().project_id,
        body,
        max_bytes,
        upload_id=id_of("upload"),
        strict_fields=_strict(),
    )
    return _shown(made)


@blueprint.post("/v1/uploads/<upload_id>/parts")
@without_engine
async def add_part(upload_id: str) -> Response:
    """Add a part."""
    form = _form(uploads.MAX_PART_BYTES)
    return _shown(
        await uploads.add_part(
            storage(), caller().project_id, upload_id, form, strict_fields=_strict()
        )
    )


@blueprint.post("/v1/uploads/<upload_id>/complete")
@without_engine
async def complete_upload(upload_id: str) -> Response:
    """Make the parts a file."""
    body = await read_json_object(request)
    whole = await uploads.complete_upload(
        storage(), caller().project_id, upload_id, body, answered(), strict_fields=_strict()
    )
    return _shown(whole)


@blueprint.post("/v1/uploads/<upload_id>/cancel")
@without_engine
async def cancel_upload(upload_id: str) -> Response:
    """End an upload without a file."""
    project_id = caller().project_id
    return _shown(await uploads.cancel_upload(storage(), project_id, upload_id, answered()))


def _form(max_file_bytes: int) -> FormReader:
    """The form of the current request, as it comes."""
    current = cast(ServerRequest, request)
    pieces = current.pieces(max_file_bytes + FORM_BYTES)
    return FormReader(current.headers.get("content-type", ""), pieces)


def _strict() -> bool:
    return server_state().settings.strict_fields


def _shown(body: dict[str, Any]) -> Response:
    return json_response(orjson.dumps(body))
