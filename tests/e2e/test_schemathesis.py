"""R13: schemathesis over our own OpenAPI document, right and wrong data, every route, no filters.

The server is the real one: Hypercorn, Quart, the engine process and the embedded model. Every
answer has a documented status, content type and schema, and none is a 5xx. That data the schema
allows is *accepted* is not asked for: what depends on the model, or on two fields together
(`min_tokens` above `max_tokens`), cannot be said in a schema.
"""

from __future__ import annotations

import pathlib
import runpy
from collections.abc import Iterator

import orjson
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from api.endpoints.openapi import make_document
from api.endpoints.table import ENDPOINTS, Endpoint
from api.settings import ServerSettings

ROOT = str(pathlib.Path(__file__).resolve().parents[2])
SDK = pathlib.Path(__file__).resolve().parents[1] / "sdk" / "conftest.py"
serving = runpy.run_path(str(SDK))["serving"]

KEY = "sk-schemathesis"
HEADERS = {"authorization": f"Bearer {KEY}"}
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
    unsupported_method,
]
SUSPENDING = {"/pause", "/sleep", "/release_kv_cache_memory"}
"""After these nothing is generated until somebody wakes the engine up."""
# `derandomize` makes the examples a function of the document alone. There are some 70 routes: these
# few take five minutes, MANY takes the night.
FEW = settings(
    max_examples=12,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
MANY = settings(FEW, max_examples=3000)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    log = tmp_path_factory.mktemp("schemathesis") / "log"
    with serving(log, "--max-model-len", "64", "--api-key", KEY) as url:
        yield url
    assert "Traceback" not in log.read_text()


@pytest.fixture(scope="session")
def session() -> Iterator[requests.Session]:
    with requests.Session() as session:
        yield session


def make_schema() -> schemathesis.BaseSchema:
    schema = schemathesis.openapi.from_dict(make_document(ServerSettings(), "test"))
    schema.config.generation.update(deterministic=True, with_security_parameters=False)
    return schema


ERROR_FIELDS = {"message", "type", "param", "code"}


def verify(case: schemathesis.Case, url: str, session: requests.Session) -> None:
    response = case.call_and_validate(
        base_url=url, session=session, headers=HEADERS, checks=CHECKS, timeout=60
    )
    if case.path in SUSPENDING:
        session.post(f"{url}/wake_up", headers=HEADERS, timeout=60)
    kind = response.headers.get("content-type", [""])[0]
    is_anthropic = case.path.startswith("/v1/messages")
    if response.status_code >= 400 and case.method != "HEAD":
        error = orjson.loads(response.content)["error"]
        assert set(error) == ERROR_FIELDS - ({"param", "code"} if is_anthropic else set())
        assert error["message"]
        assert not any(leak in error["message"] for leak in ("Traceback", ROOT, "0x", ".py"))
    elif kind.startswith("text/event-stream"):
        *events, done = response.content.removesuffix(b"\n\n").split(b"\n\n")
        if is_anthropic:
            assert done.startswith(b"event: message_stop")
            return
        assert done == b"data: [DONE]"
        assert all("error" not in orjson.loads(event.removeprefix(b"data: ")) for event in events)


@make_schema().parametrize()
@FEW
def test_any_data_gets_a_documented_answer(
    case: schemathesis.Case, server: str, session: requests.Session
) -> None:
    verify(case, server, session)


@pytest.mark.slow
@pytest.mark.timeout(7200)
@make_schema().parametrize()
@MANY
def test_much_data_gets_a_documented_answer(
    case: schemathesis.Case, server: str, session: requests.Session
) -> None:
    verify(case, server, session)


@pytest.mark.parametrize("endpoint", [each for each in ENDPOINTS if each.reach != "public"])
def test_without_a_key_there_is_no_answer(
    endpoint: Endpoint, server: str, session: requests.Session
) -> None:
    response = session.request(endpoint.method, server + endpoint.path, json={}, timeout=60)
    error = response.json()["error"]
    assert response.status_code == 401
    assert "invalid_api_key" in error.values() or error["type"] == "authentication_error"


def test_the_document_is_the_servers_own(server: str, session: requests.Session) -> None:
    served = session.get(f"{server}/openapi.json", headers=HEADERS, timeout=60).json()
    assert served["paths"] == make_document(ServerSettings(), "test")["paths"]
    assert session.get(f"{server}/ready", timeout=60).status_code == 200
