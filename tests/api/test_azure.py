"""Azure OpenAI's paths: the same routes, with a deployment, a version and its headers."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import openai
import pytest

from api.app import create_app, state_of

MESSAGES = [{"role": "user", "content": "hi"}]
CHAT = "/openai/deployments/test-model/chat/completions"
VERSION = "?api-version=2025-04-01-preview"


def load_world() -> Any:
    path = Path(__file__).parent / "services" / "conftest.py"
    spec = importlib.util.spec_from_file_location("services_world_for_azure", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def make_client(storage: Any, **settings: Any) -> Any:
    speaker = load_world().make_speaker("hello world", **settings)
    state = state_of(speaker.context)
    state.storage = storage
    return create_app(state).test_client()


@pytest.fixture
def client(storage: Any) -> Any:
    return make_client(storage, enable_azure_api=True, azure_region="westeurope")


async def test_a_deployment_is_the_model_whatever_the_body_says(client: Any) -> None:
    body = {"messages": MESSAGES, "model": "gpt-4o"}
    answer = await client.post(CHAT + VERSION, json=body)
    assert answer.status_code == 200
    assert (await answer.get_json())["model"] == "test-model"
    assert answer.headers["x-ms-region"] == "westeurope"
    assert answer.headers["x-ms-deployment-name"] == "test-model"
    assert answer.headers["apim-request-id"] == answer.headers["x-request-id"]


async def test_streams_have_the_headers_too(client: Any) -> None:
    answer = await client.post(CHAT + VERSION, json={"messages": MESSAGES, "stream": True})
    assert answer.headers["x-ms-region"] == "westeurope"
    assert (await answer.get_data()).endswith(b"data: [DONE]\n\n")


async def test_a_version_is_needed_but_not_in_the_newer_api(client: Any) -> None:
    refused = await client.post(CHAT, json={"messages": MESSAGES})
    assert refused.status_code == 400
    assert (await refused.get_json())["error"]["param"] == "api-version"
    newer = await client.post("/openai/v1/chat/completions", json={"messages": MESSAGES})
    assert newer.status_code == 200


async def test_a_deployment_that_is_not_there_is_404(client: Any) -> None:
    path = "/openai/deployments/gpt-4o/chat/completions" + VERSION
    answer = await client.post(path, json={"messages": MESSAGES})
    assert answer.status_code == 404
    assert (await answer.get_json())["error"]["code"] == "DeploymentNotFound"


@pytest.mark.parametrize("name", ["a%0d%0ab", "%00", "%F0%9F%98%80", "%ff", "%7f", "%09"])
async def test_no_header_repeats_a_deployment_that_is_not_there(client: Any, name: str) -> None:
    path = f"/openai/deployments/{name}/chat/completions" + VERSION
    answer = await client.post(path, json={"messages": MESSAGES})
    assert answer.status_code == 404
    assert (await answer.get_json())["error"]["code"] == "DeploymentNotFound"
    assert "x-ms-deployment-name" not in answer.headers


@pytest.mark.parametrize("path", ["/openai/deployments/test-model/responses", "/openai/responses"])
async def test_responses_are_always_kept(client: Any, path: str) -> None:
    answer = await client.post(path + VERSION, json={"input": "hi", "store": False})
    made = await answer.get_json()
    assert made["store"] is True
    shown = await client.get(f"/openai/responses/{made['id']}{VERSION}")
    assert json.loads(await shown.get_data()) == made
    assert shown.headers["x-ms-region"] == "westeurope"


async def test_a_path_that_sets_fields_makes_another_request_of_the_same_body(client: Any) -> None:
    body = {"input": "hi", "store": False}
    for path, expected in (("/v1", 200), ("/v1", 200), ("/openai/v1", 422)):
        headers = {"idempotency-key": "k1"}
        answer = await client.post(f"{path}/responses", json=body, headers=headers)
        assert answer.status_code == expected


async def test_azures_key_header_opens_and_its_paths_need_it(storage: Any) -> None:
    client = make_client(storage, enable_azure_api=True, api_keys=("secret",))
    body = {"messages": MESSAGES}
    assert (await client.post(CHAT + VERSION, json=body)).status_code == 401
    headers = {"api-key": "secret"}
    assert (await client.post(CHAT + VERSION, json=body, headers=headers)).status_code == 200


@pytest.mark.parametrize("path", [CHAT + VERSION, "/openai/v1/chat/completions"])
async def test_without_the_flag_there_are_no_such_paths(storage: Any, path: str) -> None:
    client = make_client(storage)
    assert (await client.post(path, json={"messages": MESSAGES})).status_code == 404


@pytest.mark.parametrize(
    "path", ["/openai/deployments/test-model/../../../metrics", "/openai//metrics", "/openai/"]
)
async def test_odd_paths_reach_nothing(client: Any, path: str) -> None:
    assert (await client.get(path + VERSION)).status_code == 404


def test_the_sdk_asks_for_paths_that_are_served() -> None:
    sdk = openai.AzureOpenAI(azure_endpoint="http://x", api_key="k", api_version="1")
    assert str(sdk.base_url) == "http://x/openai/"
