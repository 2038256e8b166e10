"""openai-node against a real server, where its package is installed (`make test-full` does it)."""

from __future__ import annotations

import pathlib
import shutil
import subprocess

import pytest

FOLDER = pathlib.Path(__file__).parent / "node"


@pytest.mark.skipif(
    shutil.which("node") is None or not (FOLDER / "node_modules/openai").is_dir(),
    reason="npm ci --prefix tests/sdk/node installs the SDK",
)
@pytest.mark.parametrize("script", ["chat.mjs", "zod.mjs", "responses.mjs", "files.mjs"])
def test_openai_node_works_unchanged(server: str, script: str) -> None:
    done = subprocess.run(
        ["node", script, server], cwd=FOLDER, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
