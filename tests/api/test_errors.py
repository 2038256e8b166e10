from __future__ import annotations

import pytest

from api.errors import APIError, error_body, from_engine_error, from_error_info, overloaded
from engine.errors import (
    ContextLengthError,
    EngineDiedError,
    InvalidParameterError,
    OverloadedError,
    SequenceError,
)
from engine.request import ErrorInfo


def test_openai_style_has_its_four_fields():
    error = APIError("no", param="n", code="invalid_value")
    assert error_body(error, "openai") == {
        "error": {
            "message": "no",
            "type": "invalid_request_error",
            "param": "n",
            "code": "invalid_value",
        }
    }


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "BadRequestError"),
        (404, "NotFoundError"),
        (405, "Method Not Allowed"),
        (413, "Request Entity Too Large"),
        (500, "InternalServerError"),
        (503, "ServiceUnavailableError"),
    ],
)
def test_vllm_style_has_its_types_and_integer_codes(status, kind):
    body = error_body(APIError("no", status=status), "vllm")["error"]
    assert (body["type"], body["code"]) == (kind, status)


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (InvalidParameterError("bad", param="n", code="integer_below_min_value"), 400,
         "integer_below_min_value"),
        (ContextLengthError("long", param="messages"), 400, "context_length_exceeded"),
        (OverloadedError("full", retry_after_s=2.5), 503, "server_is_overloaded"),
        (EngineDiedError("gone"), 503, "engine_unavailable"),
        (SequenceError("nan at 0x7f"), 500, "server_error"),
    ],
)  # fmt: skip
def test_engine_errors_become_api_errors(error, status, code):
    told = from_engine_error(error)
    assert (told.status, told.code) == (status, code)
    assert "0x7f" not in told.message


def test_errors_inside_deltas_read_the_same():
    info = ErrorInfo("ContextLengthError", "long", param="prompt", code="context_length_exceeded")
    told = from_error_info(info)
    assert (told.status, told.param, told.code) == (400, "prompt", "context_length_exceeded")
    assert from_error_info(ErrorInfo("SequenceError", "nan")).status == 500
    assert from_error_info(ErrorInfo("OverloadedError", "full")).status == 503


def test_an_overload_says_when_to_come_back():
    assert overloaded("full", 2.5).headers == {"retry-after": "3", "retry-after-ms": "2500"}


@pytest.mark.parametrize("style", ["openai", "vllm"])
@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("GET", "/t/json", 405),
        ("TRACE", "/t/json", 405),
        ("BREW", "/t/json", 405),
        ("GET", "/t/fail", 500),
        ("GET", "/docs/none", 404),
    ],
)
async def test_every_failure_is_in_the_envelope(make_world, style, method, path, status):
    client = make_world(error_format=style).app.test_client()
    response = await client.open(path, method=method)
    assert response.status_code == status
    assert response.content_type == "application/json"
    error = (await response.get_json())["error"]
    assert set(error) == {"message", "type", "param", "code"}


async def test_405_says_what_is_allowed(make_world):
    response = await make_world().app.test_client().get("/t/json")
    assert "POST" in response.headers["allow"]


async def test_a_fault_of_ours_tells_nothing_of_itself(make_world, caplog):
    response = await make_world().app.test_client().get("/t/fail")
    text = await response.get_data(as_text=True)
    assert "secret" not in text
    assert "home" not in text
    assert any("secret detail" in str(record.exc_info) for record in caplog.records)
