"""OpenAI's Azure client, unchanged, against a real server with `--enable-azure-api`."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

MODEL = "servax-tiny"
KEY = "a-key-of-azure"
VERSION = "2025-04-01-preview"
QUESTION: Any = [{"role": "user", "content": "What is servax?"}]


def serving(*arguments: Any) -> Any:
    spec = importlib.util.spec_from_file_location(
        "sdk_world", Path(__file__).parent / "conftest.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.serving(*arguments)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("azure")
    flags = ("--enable-azure-api", "--azure-region", "westeurope", "--api-key", KEY)
    with serving(folder / "log", *flags, "--data-dir", str(folder / "data")) as url:
        yield url


@pytest.fixture
def client(server: str) -> Iterator[openai.AzureOpenAI]:
    with openai.AzureOpenAI(
        azure_endpoint=server, api_key=KEY, api_version=VERSION, max_retries=0
    ) as made:
        yield made


def test_a_deployment_answers_a_chat_and_streams_it(client: openai.AzureOpenAI) -> None:
    fields: Any = {"model": MODEL, "messages": QUESTION, "temperature": 0}
    raw = client.chat.completions.with_raw_response.create(**fields)
    text = raw.parse().choices[0].message.content or ""
    assert "servax" in text.lower()
    assert raw.headers["x-ms-region"] == "westeurope"
    assert raw.headers["x-ms-deployment-name"] == MODEL
    with client.chat.completions.create(stream=True, **fields) as stream:
        pieces = [chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices]
    assert "".join(pieces) == text


def test_responses_are_kept_and_streamed_again(client: openai.AzureOpenAI) -> None:
    with client.responses.stream(model=MODEL, input="What is servax?", temperature=0) as stream:
        num_events = len(list(stream))
        made = stream.get_final_response()
    assert made.store is True
    assert client.responses.retrieve(made.id).output_text == made.output_text
    again = list(client.responses.retrieve(made.id, stream=True))
    assert len(again) == num_events
    client.responses.delete(made.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(made.id)


def test_models_completions_and_files_are_found_on_azures_paths(
    client: openai.AzureOpenAI,
) -> None:
    assert MODEL in [model.id for model in client.models.list()]
    made = client.completions.create(model=MODEL, prompt="one two", max_tokens=4, temperature=0)
    assert made.usage is not None
    assert made.usage.completion_tokens == 4
    kept = client.files.create(file=("a.jsonl", b"{}\n"), purpose="batch")
    assert client.files.content(kept.id).read() == b"{}\n"


def test_another_deployment_is_404_and_another_key_is_401(
    client: openai.AzureOpenAI, server: str
) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="gpt-4o", messages=QUESTION)
    assert caught.value.code == "DeploymentNotFound"
    with (
        openai.AzureOpenAI(azure_endpoint=server, api_key="x", api_version=VERSION) as stranger,
        pytest.raises(openai.AuthenticationError),
    ):
        stranger.chat.completions.create(model=MODEL, messages=QUESTION)


def test_the_newer_api_needs_no_version(server: str) -> None:
    with openai.OpenAI(base_url=f"{server}/openai/v1/", api_key=KEY) as newer:
        made = newer.responses.create(model=MODEL, input="What is servax?", temperature=0)
    assert made.status == "completed"
