"""The error of a response that failed, as OpenAI's own type reads it."""

from __future__ import annotations

import pytest
from openai.types.responses import ResponseError

from api.errors import APIError
from api.services.responses.objects.snapshot import error_of


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (400, "context_length_exceeded", "invalid_prompt"),
        (400, None, "invalid_prompt"),
        (404, "item_not_found", "server_error"),
        (409, "not_found", "server_error"),
        (424, "http_error", "server_error"),
        (429, "rate_limit_exceeded", "rate_limit_exceeded"),
        (503, "storage_unavailable", "server_error"),
    ],
)
def test_its_code_is_one_that_openais_clients_know(
    status: int, code: str | None, expected: str
) -> None:
    error = error_of(APIError("Why.", status=status, code=code))
    read = ResponseError.model_validate(error)
    assert (read.code, read.message) == (expected, "Why.")
