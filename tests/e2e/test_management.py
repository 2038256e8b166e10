"""The management endpoints of a real server: it stands still, sleeps and goes on as if nothing
had been."""

from __future__ import annotations

import pathlib
import runpy
import threading
from collections.abc import Iterator

import httpx
import pytest

serving = runpy.run_path(str(pathlib.Path(__file__).resolve().parents[1] / "sdk" / "conftest.py"))[
    "serving"
]
LONG = {
    "prompt": "servax",
    "max_tokens": 400,
    "temperature": 0,
    "ignore_eos": True,
    "return_token_ids": True,
}
SHORT = {**LONG, "max_tokens": 8}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    folder = tmp_path_factory.mktemp("management")
    flags = ("--step-timeout", "3", "--profiler-config", str(folder / "profiles"))
    with serving(folder / "log", *flags) as url, httpx.Client(base_url=url, timeout=60) as client:
        yield client
    assert "Traceback" not in (folder / "log").read_text()


class Background:
    """A request in a thread of its own."""

    def __init__(self, client: httpx.Client, body: dict[str, object]) -> None:
        self.answer: httpx.Response | None = None

        def run() -> None:
            self.answer = client.post("/v1/completions", json=body)

        self._thread = threading.Thread(target=run)
        self._thread.start()
        while client.get("/load").json()["server_load"] == 0:
            pass

    def wait(self) -> httpx.Response:
        self._thread.join(60)
        assert self.answer is not None
        return self.answer


def choice(response: httpx.Response) -> dict[str, object]:
    assert response.status_code == 200, response.text
    return response.json()["choices"][0]


def test_what_stood_still_and_slept_has_the_same_bytes(client: httpx.Client) -> None:
    alone = choice(client.post("/v1/completions", json=LONG))
    running = Background(client, LONG)
    assert client.post("/sleep?level=1&mode=keep").json() == {"status": "sleeping", "level": 1}
    assert client.get("/ready").status_code == 503
    assert client.get("/health").status_code == 200
    metrics = client.get("/metrics").text
    assert 'sleep_state="weights_offloaded"} 1.0' in metrics
    queued = Background(client, LONG)
    assert client.post("/wake_up").json() == {"status": "awake", "tags": None}
    assert choice(running.wait()) == alone
    assert choice(queued.wait()) == alone
    assert client.get("/ready").status_code == 200
    compiled = [
        line
        for line in client.get("/metrics").text.splitlines()
        if line.startswith("servax:compilations_after_ready")
    ]
    assert compiled[0].endswith(" 0.0")


def test_dropped_weights_come_back_from_the_checkpoint(client: httpx.Client) -> None:
    before = choice(client.post("/v1/completions", json=SHORT))
    client.post("/sleep?level=2")
    refused = client.post("/v1/completions", json=SHORT)
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "engine_suspended")
    assert int(refused.headers["retry-after"]) >= 1
    assert client.post("/resume").status_code == 409
    assert client.post("/wake_up?tags=weights").json()["status"] == "sleeping"
    assert client.post("/wake_up?tags=kv_cache").json()["status"] == "awake"
    assert choice(client.post("/v1/completions", json=SHORT)) == before


def test_aborted_requests_keep_what_they_have(client: httpx.Client) -> None:
    running = Background(client, LONG)
    assert client.post("/pause").json() == {"status": "paused"}
    ended = choice(running.wait())
    assert ended["finish_reason"] in ("abort", "length")
    assert client.get("/is_paused").json() == {"is_paused": True}
    assert client.post("/resume").json() == {"status": "resumed"}
    assert client.post("/abort_requests").json() == {"status": "aborted", "aborted": 0}


def test_one_profile_at_a_time(client: httpx.Client) -> None:
    assert client.post("/stop_profile").status_code == 409
    assert client.post("/start_profile").status_code == 200
    assert client.post("/start_profile").status_code == 409
    client.post("/v1/completions", json=SHORT)
    assert client.post("/stop_profile").status_code == 200
    folder = client.get("/server_info?config_format=json").json()["vllm_config"]["engine"]
    traces = pathlib.Path(folder["profiler_config"]["torch_profiler_dir"]).rglob("*.xplane.pb")
    assert list(traces)
