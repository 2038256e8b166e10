"""The one error of the API, and its two spellings on the wire.

    APIError                     everything a client may be told
    from_engine_error            engine.errors → APIError
    from_error_info              the same for errors that travelled inside a TokenDelta
    error_body                   APIError → {"error": {...}} in OpenAI's or vLLM's style

The same body is the answer of a failed request and the last event of a failed stream.
"""

from __future__ import annotations

import http
import math
from collections.abc import Mapping
from typing import Any, Literal

from api.settings import ErrorFormat
from engine import errors as engine_errors
from engine.request import ErrorInfo

ErrorStyle = ErrorFormat | Literal["anthropic"]
"""The operator's choice, or that of the routes of Anthropic's API."""

SERVER_ERROR_MESSAGE = "The server had an error while processing your request."

VLLM_TYPES = {
    400: "BadRequestError",
    401: "Unauthorized",
    404: "NotFoundError",
    422: "UnprocessableEntityError",
    500: "InternalServerError",
    501: "NotImplementedError",
    503: "ServiceUnavailableError",
}

ANTHROPIC_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    503: "overloaded_error",
}

OPENAI_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    429: "rate_limit_error",
    503: "service_unavailable_error",
}


def default_type(status: int) -> str:
    """OpenAI's error type that goes with an HTTP status."""
    if status in OPENAI_TYPES:
        return OPENAI_TYPES[status]
    return "server_error" if status >= 500 else "invalid_request_error"


class APIError(Exception):
    """An answer that is not success.

    Attributes:
        message: one sentence for the client, without paths, addresses or tracebacks.
        status: HTTP status, 400..599.
        type: OpenAI's type; None picks the one that goes with `status`.
        param: the field at fault, spelled as the client spelled it.
        code: OpenAI's machine-readable code.
        headers: extra response headers, such as retry-after.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        type: str | None = None,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.type = type if type is not None else default_type(status)
        self.param = param
        self.code = code
        self.headers = dict(headers or {})


def error_body(error: APIError, style: ErrorStyle) -> dict[str, Any]:
    """The envelope, ready for `orjson.dumps`, with `message`, `type`, `param` and `code`.

    Anthropic's has only the first two of them.
    """
    if style == "anthropic":
        kind = ANTHROPIC_TYPES.get(error.status, default_type(error.status))
        return {"type": "error", "error": {"type": kind, "message": error.message}}
    if style == "vllm":
        kind, code = vllm_type(error.status), error.status
    else:
        kind, code = error.type, error.code
    return {"error": {"message": error.message, "type": kind, "param": error.param, "code": code}}


def vllm_type(status: int) -> str:
    """vLLM's error type for a status: an exception's name, or the phrase of the status."""
    if status in VLLM_TYPES:
        return VLLM_TYPES[status]
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return "Error"


def retry_headers(retry_after_s: float) -> dict[str, str]:
    """`retry-after` in whole seconds (at least 1) and `retry-after-ms`."""
    return {
        "retry-after": str(max(1, math.ceil(retry_after_s))),
        "retry-after-ms": str(max(1, math.ceil(retry_after_s * 1000))),
    }


def overloaded(message: str, retry_after_s: float = 1.0) -> APIError:
    """503: the server as a whole cannot take more now."""
    return APIError(
        message, status=503, code="server_is_overloaded", headers=retry_headers(retry_after_s)
    )


def unavailable(message: str, code: str, retry_after_s: float = 1.0) -> APIError:
    """503: the engine is starting, draining or being restarted."""
    return APIError(message, status=503, code=code, headers=retry_headers(retry_after_s))


def shutting_down(retry_after_s: float) -> APIError:
    """503: the server drains, or ends."""
    return unavailable("The server is shutting down.", "server_shutting_down", retry_after_s)


def engine_failed() -> APIError:
    """503 without retry-after: the engine is gone for good, and only the operator can help."""
    message = "The engine has failed and is not started again; the server's log says why."
    return APIError(message, status=503, code="engine_failed")


def ended_by_operator() -> APIError:
    """503 for an answer that is nothing without what an operator's abort kept it from."""
    message = "The operator of the server ended this request."
    return APIError(message, status=503, code="request_aborted")


def server_error() -> APIError:
    """500 for a fault of ours: says nothing about it; the log has the details."""
    return APIError(SERVER_ERROR_MESSAGE, status=500, code="server_error")


def from_engine_error(error: engine_errors.EngineError) -> APIError:
    """What a client is told of an engine's exception."""
    if isinstance(error, engine_errors.RequestError):
        return APIError(error.message, param=error.param, code=error.code)
    if isinstance(error, engine_errors.OverloadedError):
        return overloaded(error.message, error.retry_after_s)
    if isinstance(error, engine_errors.SuspendedError):
        return unavailable(error.message, "engine_suspended", error.retry_after_s)
    if isinstance(error, engine_errors.ConflictError):
        return APIError(error.message, status=409, code=error.code)
    if isinstance(error, engine_errors.EngineDiedError):
        return unavailable(
            "The engine stopped before your request was answered.",
            "engine_unavailable",
            retry_after_s=5.0,
        )
    return server_error()


def from_error_info(info: ErrorInfo) -> APIError:
    """What a client is told of an error inside a `TokenDelta`."""
    if info.kind in {"RequestError", "InvalidParameterError", "ContextLengthError"}:
        return APIError(info.message, param=info.param, code=info.code)
    if info.kind == "OverloadedError":
        return overloaded(info.message, info.retry_after_s or 1.0)
    if info.kind == "SuspendedError":
        return unavailable(info.message, "engine_suspended", info.retry_after_s or 5.0)
    if info.kind == "EngineDiedError":
        return from_engine_error(engine_errors.EngineDiedError(info.message))
    return server_error()
