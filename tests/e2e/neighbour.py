"""Someone else's stream, the same over and over, while a server is ill-treated."""

from __future__ import annotations

import dataclasses
import json
import threading

import httpx


@dataclasses.dataclass
class Streamed:
    """What a stream said, without how it was cut into events."""

    text: str = ""
    token_ids: list[int] = dataclasses.field(default_factory=list)
    logprobs: list[float] = dataclasses.field(default_factory=list)
    finish_reasons: list[str] = dataclasses.field(default_factory=list)


def joined(content: bytes) -> Streamed:
    streamed = Streamed()
    for event in content.removesuffix(b"\n\n").split(b"\n\n")[:-1]:
        (choice,) = json.loads(event.removeprefix(b"data: "))["choices"]
        streamed.text += choice["text"]
        streamed.token_ids += choice["token_ids"] or []
        streamed.logprobs += (choice["logprobs"] or {}).get("token_logprobs", [])
        streamed.finish_reasons += [choice["finish_reason"]] if choice["finish_reason"] else []
    return streamed


class Neighbour:
    """Streams one seeded answer again and again from a thread."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._stop = threading.Event()
        self._wait_until_compiled()
        self.alone = self.stream()
        self.answers: list[Streamed] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _wait_until_compiled(self) -> None:
        # Scoring a prompt is the last kind of step that a new server compiles.
        body = {"prompt": "a", "prompt_logprobs": 0}
        httpx.post(f"{self._url}/v1/completions", json=body, timeout=240).raise_for_status()

    def stream(self) -> Streamed:
        body = {
            "prompt": "Once upon a time",
            "max_tokens": 400,
            "seed": 7,
            "temperature": 0.9,
            "ignore_eos": True,
            "logprobs": 2,
            "return_token_ids": True,
            "stream": True,
        }
        answer = httpx.post(f"{self._url}/v1/completions", json=body, timeout=120)
        assert answer.status_code == 200, answer.text
        assert answer.content.endswith(b"data: [DONE]\n\n")
        return joined(answer.content)

    def _run(self) -> None:
        while not self._stop.is_set():
            self.answers.append(self.stream())

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(timeout=120)
        assert not self._thread.is_alive()
