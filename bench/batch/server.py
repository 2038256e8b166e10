"""A server in a process of its own, its files and its batches."""

from __future__ import annotations

import json
import pathlib
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any, cast

import httpx

from bench.batch.lines import CHAT
from bench.environment import ROOT

START_TIMEOUT_S = 180.0
POLL_S = 0.2
ENDED = ("failed", "completed", "expired", "cancelled")


class Server:
    """`servax serve` with its state in `folder`; ready, every step compiled, inside `with`.

    Arguments:
        program: what Python runs instead of the command, given the same words.
        key: what the server's clients must show; empty when it asks for none.

    Attributes:
        url: where it listens, without /v1.
        model: the name it gives its model.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        arguments: list[str],
        *,
        program: Sequence[str] = ("-m", "api.cli"),
        key: str = "",
    ) -> None:
        port = _free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.model = ""
        command = [sys.executable, *program, "serve", "--port", str(port)]
        self._log = (folder / "server.log").open("wb")
        self._process = subprocess.Popen(
            [*command, "--data-dir", str(folder / "data"), *arguments],
            cwd=ROOT,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        headers = {"authorization": f"Bearer {key}"} if key else {}
        self._client = httpx.Client(base_url=self.url, timeout=60.0, headers=headers)

    def __enter__(self) -> Server:
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while not self._is_compiled():
            if self._process.poll() is not None or time.monotonic() > deadline_s:
                self._process.kill()
                raise RuntimeError(f"the server did not start; see {self._log.name}")
            time.sleep(POLL_S)
        self.model = self.get("/v1/models")["data"][0]["id"]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._client.close()
        self._process.terminate()
        try:
            self._process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._log.close()

    def get(self, path: str) -> dict[str, Any]:
        """The JSON body of an answer."""
        return cast("dict[str, Any]", self._client.get(path).raise_for_status().json())

    def upload(self, data: bytes) -> str:
        """The id of an input file."""
        given = {"file": ("lines.jsonl", data)}
        answer = self._client.post("/v1/files", data={"purpose": "batch"}, files=given)
        return str(answer.raise_for_status().json()["id"])

    def create_batch(self, file_id: str) -> str:
        """The id of a batch that was accepted."""
        body = {"input_file_id": file_id, "endpoint": CHAT, "completion_window": "24h"}
        return str(self._client.post("/v1/batches", json=body).raise_for_status().json()["id"])

    def cancel(self, batch_id: str) -> None:
        """End a batch; returns when it has ended."""
        self._client.post(f"/v1/batches/{batch_id}/cancel").raise_for_status()
        self.wait_ended(batch_id)

    def batch(self, batch_id: str) -> dict[str, Any]:
        """How it stands."""
        return self.get(f"/v1/batches/{batch_id}")

    def wait_ended(self, batch_id: str) -> dict[str, Any]:
        """How it ended."""
        while (batch := self.batch(batch_id))["status"] not in ENDED:
            time.sleep(POLL_S)
        return batch

    def results(self, batch: dict[str, Any]) -> dict[str, str]:
        """What was answered, by `custom_id`; fails where one is there twice."""
        content = self._client.get(f"/v1/files/{batch['output_file_id']}/content")
        lines = [json.loads(line) for line in content.raise_for_status().text.splitlines()]
        texts = {line["custom_id"]: _text_of(line["response"]["body"]) for line in lines}
        assert len(texts) == len(lines), "a custom_id is there twice"
        return texts

    def _is_compiled(self) -> bool:
        try:
            if self._client.get("/ready").status_code != 200:
                return False
            text = self._client.get("/metrics").raise_for_status().text
        except httpx.HTTPError:
            return False
        values = {
            name: float(value)
            for name, _, value in (line.rpartition(" ") for line in text.splitlines())
            if name.startswith("servax:")
        }
        compiled = [v for n, v in values.items() if n.startswith("servax:compiled_steps")]
        planned = [v for n, v in values.items() if n.startswith("servax:planned_steps")]
        return bool(planned) and compiled == planned


def _text_of(body: dict[str, Any]) -> str:
    return str(body["choices"][0]["message"]["content"])


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
