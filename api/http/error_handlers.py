"""Every failure leaves in the one envelope, also what Quart would answer in HTML."""

from __future__ import annotations

import logging
from typing import Any

import orjson
from quart import Quart, Response, has_request_context, request
from werkzeug.exceptions import HTTPException

from api.errors import APIError, ErrorStyle, error_body, from_engine_error, server_error
from api.http.access import request_state
from api.settings import ErrorFormat
from engine.errors import EngineError

log = logging.getLogger("servax.api")

HTTP_MESSAGES = {
    404: ("Unknown request URL: {method} {path}. Please check the URL for typos.", "unknown_url"),
    405: ("Not allowed to {method} on {path}.", "method_not_allowed"),
    408: ("The request did not arrive in time.", "request_timeout"),
    413: ("The request body is larger than this server accepts.", "request_too_large"),
    415: ("Unsupported Media Type.", "unsupported_content_type"),
    431: ("The request's headers are too large.", "request_header_fields_too_large"),
}

SHOWN_PATH_CHARS = 200
ANTHROPIC_PATH = "/v1/messages"


def install_error_handlers(app: Quart, style: ErrorFormat) -> None:
    """Register handlers for our errors, the engine's, HTTP errors and everything else."""

    async def on_api_error(error: Exception) -> Response:
        return error_response(_as(APIError, error), style)

    async def on_engine_error(error: Exception) -> Response:
        told = from_engine_error(_as(EngineError, error))
        if told.status == 500:
            _log_failure(error)
        return error_response(told, style)

    async def on_http_error(error: Exception) -> Response:
        return error_response(from_http_exception(_as(HTTPException, error)), style)

    async def on_other_error(error: Exception) -> Response:
        _log_failure(error)
        return error_response(server_error(), style)

    app.register_error_handler(APIError, on_api_error)
    app.register_error_handler(EngineError, on_engine_error)
    app.register_error_handler(HTTPException, on_http_error)
    app.register_error_handler(Exception, on_other_error)


def error_response(error: APIError, style: ErrorFormat) -> Response:
    """The answer for `error`; routes of Anthropic's API have its style."""
    path = request.path if has_request_context() else ""
    return Response(
        orjson.dumps(error_body(error, style_of(path, style))),
        status=error.status,
        headers={"content-type": "application/json", **error.headers},
    )


def style_of(path: str, style: ErrorFormat) -> ErrorStyle:
    """How errors are written on the route of this path."""
    return "anthropic" if path.startswith(ANTHROPIC_PATH) else style


def from_http_exception(error: HTTPException) -> APIError:
    """Werkzeug's error as ours, keeping its status and `allow` header."""
    status = error.code or 500
    if status >= 500:
        return server_error()
    message, code = HTTP_MESSAGES.get(status, (error.name, None))
    headers = {
        name.lower(): value
        for name, value in error.get_headers(None)
        if name.lower() in {"allow", "retry-after", "location"}
    }
    path = ascii(request.path)[1:-1][:SHOWN_PATH_CHARS]
    return APIError(
        message.format(method=request.method, path=path),
        status=status,
        code=code,
        headers=headers,
    )


def _as(kind: type[Any], error: Exception) -> Any:
    assert isinstance(error, kind)
    return error


def _log_failure(error: Exception) -> None:
    log.error("request %s failed", request_state(request.scope).request_id, exc_info=error)
