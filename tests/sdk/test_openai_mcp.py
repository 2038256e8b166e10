"""Tools of an MCP server made with the official `mcp` package, through the OpenAI Python SDK."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.sdk.conftest import ROOT, free_port, serving

MODEL = "servax-tiny"
QUESTION = "What is the weather in Paris?"
KEY = "key-of-the-tools"
PYTHON = ROOT / ".venv-sdk" / "bin" / "python"

pytestmark = pytest.mark.skipif(
    not (ROOT / ".venv-sdk" / ".installed").is_file(),
    reason="make test-sdk makes .venv-sdk with the official mcp package",
)


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    port = free_port()
    script = Path(__file__).parent / "python" / "mcp_weather.py"
    log = tmp_path_factory.mktemp("tools") / "log"
    with log.open("w") as output:
        command = [str(PYTHON), str(script), str(port), KEY]
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        try:
            deadline_s = time.monotonic() + 60
            while not is_listening(port):
                assert process.poll() is None, log.read_text()[-3000:]
                assert time.monotonic() < deadline_s, log.read_text()[-3000:]
                time.sleep(0.1)
            yield port
        finally:
            process.terminate()
            process.wait(timeout=30)


@pytest.fixture(scope="module")
def calling_server(tools: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("calling")
    allowed = f"127.0.0.1:{tools}"
    with serving(
        folder / "log", "--allowed-mcp-domains", allowed, "--data-dir", str(folder / "data")
    ) as url:
        yield url


@pytest.fixture
def client(calling_server: str) -> Iterator[openai.OpenAI]:
    url = calling_server + "/v1"
    with openai.OpenAI(base_url=url, api_key="unused", max_retries=0) as made:
        yield made


@pytest.fixture
def tool(tools: int) -> Any:
    return {
        "type": "mcp",
        "server_label": "weather",
        "server_url": f"http://127.0.0.1:{tools}/mcp",
        "authorization": KEY,
        "require_approval": "never",
    }


def test_a_tool_is_called_and_the_stream_accumulates(client: openai.OpenAI, tool: Any) -> None:
    with client.responses.stream(
        model=MODEL, input=QUESTION, tools=[tool], temperature=0
    ) as stream:
        kinds = [event.type for event in stream]
        response = stream.get_final_response()
    listed, called, message = response.output
    assert listed.type == "mcp_list_tools"
    assert [each.name for each in listed.tools] == ["get_weather"]
    assert called.type == "mcp_call"
    assert (called.output, called.error) == ("sunny in Paris", None)
    assert message.type == "message"
    assert "sunny" in response.output_text
    for kind in ("mcp_list_tools.completed", "mcp_call_arguments.delta", "mcp_call.completed"):
        assert f"response.{kind}" in kinds
    kept = client.responses.retrieve(response.id)
    assert [item.id for item in kept.output] == [item.id for item in response.output]


def test_a_call_is_approved_in_the_next_response(client: openai.OpenAI, tool: Any) -> None:
    fields: Any = {"model": MODEL, "tools": [tool | {"require_approval": "always"}]}
    first = client.responses.create(input=QUESTION, temperature=0, **fields)
    asked = first.output[-1]
    assert asked.type == "mcp_approval_request"
    answer: Any = {
        "type": "mcp_approval_response",
        "approval_request_id": asked.id,
        "approve": True,
    }
    second = client.responses.create(
        input=[answer], previous_response_id=first.id, temperature=0, **fields
    )
    assert [item.type for item in second.output] == ["mcp_call", "message"]
    assert "sunny" in second.output_text


def test_a_wrong_key_is_a_failed_call(client: openai.OpenAI, tool: Any) -> None:
    response = client.responses.create(
        model=MODEL, input=QUESTION, tools=[tool | {"authorization": "wrong"}], temperature=0
    )
    called = response.output[1]
    assert called.type == "mcp_call"
    assert (called.status, called.output) == ("failed", None)
    assert response.status == "completed"


def test_another_server_is_refused(client: openai.OpenAI, tool: Any) -> None:
    other = tool | {"server_url": "https://mcp.example.com/mcp"}
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(model=MODEL, input=QUESTION, tools=[other])
    assert caught.value.param == "tools[0].server_url"
    assert "--allowed-mcp-domains" in str(caught.value)
