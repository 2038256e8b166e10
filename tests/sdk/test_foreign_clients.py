"""Clients that live in environments of their own: LangChain, LiteLLM, openai-agents and the
Vercel AI SDK.

`make test-sdk` makes these environments; without them the tests are skipped.
"""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from tests.sdk.conftest import ROOT, serving

FOLDER = pathlib.Path(__file__).parent
VENV = ROOT / ".venv-sdk"
needs_python = pytest.mark.skipif(
    not (VENV / ".installed").is_file(),
    reason="make test-sdk makes .venv-sdk with LangChain, LiteLLM and openai-agents",
)
needs_node = pytest.mark.skipif(
    shutil.which("node") is None or not (FOLDER / "node/node_modules/ai").is_dir(),
    reason="npm ci --prefix tests/sdk/node installs the SDK",
)


@pytest.fixture(scope="module")
def keyed_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    log = tmp_path_factory.mktemp("keyed server") / "log"
    with serving(log, "--api-key", "secret") as url:
        yield url


def run(*command: str, folder: str, **urls: str) -> None:
    """Run a client; it fails the test with all it wrote."""
    done = subprocess.run(
        command,
        cwd=FOLDER / folder,
        env=os.environ | urls,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-4000:]


def run_pytest(file: str, **urls: str) -> None:
    run(str(VENV / "bin/python"), "-m", "pytest", "-c", "pytest.ini", file, folder="python", **urls)


@needs_python
def test_langchains_standard_tests_pass(server: str) -> None:
    run_pytest("langchain_standard.py", SERVAX_URL=server)


@needs_python
def test_litellm_completes_streams_calls_and_maps_errors(server: str, keyed_server: str) -> None:
    run_pytest("litellm_calls.py", SERVAX_URL=server, SERVAX_KEYED_URL=keyed_server)


@needs_python
def test_openai_agents_run_on_responses_and_on_chat(server: str) -> None:
    run_pytest("agents_runs.py", SERVAX_URL=server)


@needs_node
def test_the_vercel_ai_sdk_generates_streams_and_loops_over_tools(server: str) -> None:
    run("node", "vercel.mjs", server, folder="node")
