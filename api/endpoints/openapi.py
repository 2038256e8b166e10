"""The OpenAPI 3.1 document, made from `api.endpoints.table` and the pydantic models it names."""

from __future__ import annotations

import importlib
import re
from typing import Any

import pydantic
from pydantic.json_schema import models_json_schema

from api.endpoints.table import ENDPOINTS, Endpoint
from api.settings import ServerSettings

Document = dict[str, Any]

REF_TEMPLATE = "#/components/schemas/{model}"
EVENT_SCHEMA: Document = {
    "type": "object",
    "properties": {"data": {"type": "string"}, "event": {"type": "string"}},
}
"""Of each server-sent event."""

ERROR_STATUSES = {
    "common": {
        "400": "The request is not valid.",
        "401": "The API key is missing or wrong.",
        "404": "There is no such thing.",
        "408": "The request did not arrive in time.",
        "429": "Too many requests; see retry-after.",
        "431": "The request's headers are too large.",
        "500": "The server failed.",
        "503": "The server is loading, overloaded or shutting down; see retry-after.",
    },
    "operator": {"403": "Open to this machine only, unless an API key is configured."},
    "management": {"409": "The engine is not in a state for it."},
    "body": {"413": "The body is too large."},
    "form": {"415": "The body is not of the content type that the route takes."},
}


def make_document(settings: ServerSettings, version: str) -> Document:
    """The document for a server with these settings."""
    endpoints = [each for each in ENDPOINTS if not _is_switched_off(each, settings)]
    references, schemas = _schemas(endpoints)
    paths: Document = {}
    for endpoint in endpoints:
        operation = _operation(endpoint, references)
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {"title": "servax", "version": version},
        "servers": [{"url": settings.root_path or "/"}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def _is_switched_off(endpoint: Endpoint, settings: ServerSettings) -> bool:
    return settings.disable_docs and endpoint.tag == "Documentation"


def _schemas(endpoints: list[Endpoint]) -> tuple[dict[str, Document], Document]:
    """References by `module:class`, and the definitions they point to."""
    names: dict[str, str] = {}
    for endpoint in endpoints:
        names[endpoint.error] = "serialization"
        if endpoint.response:
            names[endpoint.response] = "serialization"
        if endpoint.body:
            names[endpoint.body] = "validation"
    models = {name: _load(name) for name in names}
    wanted: list[Any] = [(models[name], mode) for name, mode in names.items()]
    found, definitions = models_json_schema(wanted, ref_template=REF_TEMPLATE)
    references = {
        name: found[(models[name], mode)]  # pyright: ignore[reportArgumentType]
        for name, mode in names.items()
    }
    return references, definitions.get("$defs", {})


def _load(name: str) -> type[pydantic.BaseModel]:
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)


def _operation(endpoint: Endpoint, references: dict[str, Document]) -> Document:
    operation: Document = {
        "summary": endpoint.summary,
        "tags": [endpoint.tag],
        "operationId": _operation_id(endpoint),
        "parameters": [
            *(_path_parameter(name) for name in path_parameters(endpoint.path)),
            *(_query_parameters(endpoint.query) if endpoint.query else ()),
        ],
        "responses": {"200": _success(endpoint, references), **_errors(endpoint, references)},
    }
    if endpoint.body:
        content = {endpoint.body_media: {"schema": references[endpoint.body]}}
        operation["requestBody"] = {
            "required": not endpoint.is_body_optional,
            "content": content,
        }
    if endpoint.reach != "public":
        operation["security"] = [{"key": []}]
    return operation


def _operation_id(endpoint: Endpoint) -> str:
    words = re.sub(r"[^a-z0-9]+", "_", endpoint.path.lower()).strip("_")
    return f"{endpoint.method.lower()}_{words}"


def path_parameters(path: str) -> list[str]:
    """Names between braces."""
    return re.findall(r"{(\w+)}", path)


def _path_parameter(name: str) -> Document:
    schema = {"type": "string", "minLength": 1}
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _query_parameters(name: str) -> list[Document]:
    properties: Document = _load(name).model_json_schema()["properties"]
    return [
        {"name": parameter, "in": "query", "required": False, "schema": schema}
        for parameter, schema in properties.items()
    ]


def _success(endpoint: Endpoint, references: dict[str, Document]) -> Document:
    content: Document = {}
    if endpoint.response:
        content["application/json"] = {"schema": references[endpoint.response]}
    if endpoint.media:
        content[endpoint.media] = {"schema": {}}
    if endpoint.can_stream:
        content["text/event-stream"] = {"schema": EVENT_SCHEMA}
    return {"description": "Success.", **({"content": content} if content else {})}


def _errors(endpoint: Endpoint, references: dict[str, Document]) -> Document:
    statuses = dict(ERROR_STATUSES["common"])
    if endpoint.reach == "operator":
        statuses |= ERROR_STATUSES["operator"]
    if endpoint.tag == "Management":
        statuses |= ERROR_STATUSES["management"]
    if endpoint.method == "POST":
        statuses |= ERROR_STATUSES["body"]
    if endpoint.body_media != "application/json":
        statuses |= ERROR_STATUSES["form"]
    content = {"application/json": {"schema": references[endpoint.error]}}
    return {
        status: {"description": text, "content": content}
        for status, text in sorted(statuses.items())
    }
