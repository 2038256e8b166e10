"""The ledger of a real server: what clients were told, key by key, also after `kill -9`."""

from __future__ import annotations

import os
import pathlib
import runpy
import signal
import sqlite3
import subprocess

import httpx

serving = runpy.run_path(str(pathlib.Path(__file__).resolve().parents[1] / "sdk" / "conftest.py"))[
    "serving"
]
KEYS = ("sk-one", "sk-two")
BODY = {"prompt": "servax is", "max_tokens": 8, "temperature": 0, "ignore_eos": True}


def counters(url: str) -> dict[str, int]:
    text = httpx.get(url + "/metrics", headers={"x-api-key": KEYS[0]}).text
    wanted = ("prompt_tokens_total", "generation_tokens_total", "prompt_tokens_cached_total")
    return {
        name: int(float(line.rpartition(" ")[2]))
        for line in text.splitlines()
        for name in wanted
        if line.startswith(f"vllm:{name}{{")
    }


def ledger(folder: pathlib.Path) -> list[tuple[int, ...]]:
    """Sums of each key: requests, prompt, cached and generated tokens."""
    with sqlite3.connect(folder / "servax.db") as database:
        return database.execute(
            "SELECT count(*), sum(num_prompt_tokens), sum(num_cached_tokens), "
            "sum(num_generated_tokens) FROM usage_records GROUP BY key_id ORDER BY 1"
        ).fetchall()


def leave_a_stream(client: httpx.Client, key: str) -> None:
    """Read the first event of a long answer and go away."""
    body = {**BODY, "max_tokens": 400, "stream": True}
    headers = {"x-api-key": key}
    with client.stream("POST", "/v1/completions", json=body, headers=headers) as answer:
        next(answer.iter_lines())


def test_the_ledger_is_the_counters_and_survives_kill_9(tmp_path: pathlib.Path) -> None:
    usages: dict[str, list[dict[str, int]]] = {key: [] for key in KEYS}
    arguments = ("--data-dir", str(tmp_path), "--api-key", *KEYS)
    with serving(tmp_path / "log", *arguments) as url, httpx.Client(base_url=url) as client:
        for key in (KEYS[0], *KEYS[1:] * 3):
            answer = client.post("/v1/completions", json=BODY, headers={"x-api-key": key})
            usages[key].append(answer.json()["usage"])
        leave_a_stream(client, KEYS[0])
        while client.get("/load", headers={"x-api-key": KEYS[0]}).json()["server_load"]:
            pass
        counted = counters(url)
        last = client.post("/v1/completions", json=BODY, headers={"x-api-key": KEYS[1]})
        kill_the_server(url)
        usages[KEYS[1]].append(last.json()["usage"])
    one, two = ledger(tmp_path)
    assert (one[0], two[0]) == (2, 4)
    assert two[1] == sum(usage["prompt_tokens"] for usage in usages[KEYS[1]])
    assert two[3] == sum(usage["completion_tokens"] for usage in usages[KEYS[1]])
    told = last.json()["usage"]
    assert one[1] + two[1] - told["prompt_tokens"] == counted["prompt_tokens_total"]
    assert one[3] + two[3] - told["completion_tokens"] == counted["generation_tokens_total"]
    assert one[3] > usages[KEYS[0]][0]["completion_tokens"], "what was streamed before it was left"


def kill_the_server(url: str) -> None:
    """SIGKILL to whoever listens there, right after an answer came."""
    port = url.rpartition(":")[2]
    found = subprocess.run(
        ["pgrep", "-f", f"api.cli serve --port {port} "], capture_output=True, check=True
    )
    for process_id in found.stdout.split():
        os.kill(int(process_id), signal.SIGKILL)
