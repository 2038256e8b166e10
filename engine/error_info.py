"""From an exception to the record that crosses borders."""

from __future__ import annotations

from engine.errors import (
    ConflictError,
    EngineError,
    OverloadedError,
    RequestError,
    SuspendedError,
)
from engine.request import ErrorInfo


def error_info(error: Exception) -> ErrorInfo:
    """An exception as it travels. Texts of unplanned exceptions stay in the log."""
    if isinstance(error, OverloadedError | SuspendedError):
        return ErrorInfo(type(error).__name__, error.message, retry_after_s=error.retry_after_s)
    if isinstance(error, ConflictError):
        return ErrorInfo("ConflictError", error.message, code=error.code)
    if isinstance(error, RequestError):
        return ErrorInfo(type(error).__name__, error.message, param=error.param, code=error.code)
    if isinstance(error, EngineError):
        return ErrorInfo(type(error).__name__, str(error))
    return ErrorInfo("SequenceError", f"{type(error).__name__} while taking in this request")
