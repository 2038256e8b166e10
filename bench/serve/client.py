"""One streamed request, timed from outside, on any OpenAI endpoint."""

from __future__ import annotations

import dataclasses
import itertools
import json
import time
from typing import Any

import httpx

from bench.serve.workload import PlannedRequest


@dataclasses.dataclass(slots=True)
class Outcome:
    """What one request showed its client. Times are `time.perf_counter()` seconds.

    Attributes:
        chunk_times_s: arrival of every chunk that carried text.
        output_tokens: from the server's `usage`; text is never re-tokenised.
        error: one line when the request failed; such a request counts in no latency.
    """

    start_s: float
    chunk_times_s: list[float] = dataclasses.field(default_factory=list)
    end_s: float = 0.0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    error: str = ""

    @property
    def ttft_s(self) -> float:
        """Time to the first text."""
        return self.chunk_times_s[0] - self.start_s

    @property
    def e2e_s(self) -> float:
        """Time to the end of the stream."""
        return self.end_s - self.start_s

    @property
    def tpot_s(self) -> float:
        """Mean time per output token after the first."""
        later = self.chunk_times_s[-1] - self.chunk_times_s[0]
        return later / max(1, self.output_tokens - 1)

    @property
    def gaps_s(self) -> list[float]:
        """Times between chunks; a chunk may carry several tokens."""
        pairs = itertools.pairwise(self.chunk_times_s)
        return [later - earlier for earlier, later in pairs]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Where and how requests are sent.

    Attributes:
        kind: "completions" (prompts as token ids) or "chat" (prompts as words).
        extra_body: merged into every request.
    """

    base_url: str
    kind: str
    model: str
    api_key: str = ""
    extra_body: dict[str, Any] = dataclasses.field(default_factory=dict[str, Any])

    @property
    def url(self) -> str:
        """The address requests go to."""
        path = "/v1/completions" if self.kind == "completions" else "/v1/chat/completions"
        return self.base_url.rstrip("/") + path

    def headers(self) -> dict[str, str]:
        """Authorization when there is a key."""
        return {"authorization": f"Bearer {self.api_key}"} if self.api_key else {}

    def body(self, request: PlannedRequest) -> dict[str, Any]:
        """The JSON body of one request."""
        common = {
            "model": self.model,
            "max_tokens": request.output_tokens,
            "temperature": 0.0,
            "stream": True,
            "stream_options": {"include_usage": True},
            **self.extra_body,
        }
        if self.kind == "completions":
            return {"prompt": list(request.prompt_token_ids), **common}
        return {"messages": [{"role": "user", "content": request.prompt_text}], **common}


async def send(client: httpx.AsyncClient, endpoint: Endpoint, request: PlannedRequest) -> Outcome:
    """Send one request and time its stream; failures are told in `Outcome.error`."""
    outcome = Outcome(start_s=time.perf_counter())
    try:
        async with client.stream(
            "POST", endpoint.url, json=endpoint.body(request), headers=endpoint.headers()
        ) as response:
            if response.status_code != 200:
                body = (await response.aread()).decode(errors="replace")
                outcome.error = f"{response.status_code}: {body[:200]}"
                return outcome
            async for line in response.aiter_lines():
                _read_line(line, outcome)
    except httpx.HTTPError as error:
        outcome.error = f"{type(error).__name__}: {error}"
    outcome.end_s = time.perf_counter()
    if not outcome.error and not outcome.chunk_times_s:
        outcome.error = "the stream carried no text"
    return outcome


def _read_line(line: str, outcome: Outcome) -> None:
    if not line.startswith("data: ") or line == "data: [DONE]":
        return
    chunk = json.loads(line[6:])
    if "error" in chunk:
        outcome.error = str(chunk["error"].get("message", chunk["error"]))
        return
    if any(_has_output(choice) for choice in chunk.get("choices", ())):
        outcome.chunk_times_s.append(time.perf_counter())
    if usage := chunk.get("usage"):
        outcome.prompt_tokens = usage["prompt_tokens"]
        outcome.output_tokens = usage["completion_tokens"]
        details = usage.get("prompt_tokens_details") or {}
        outcome.cached_tokens = details.get("cached_tokens") or 0


def _has_output(choice: dict[str, Any]) -> bool:
    # The first chat chunk only names the role: it is not the first token. The last chunk may
    # carry a token whose text is empty (a special one): it ends the stream all the same.
    delta = choice.get("delta") or {}
    text = choice.get("text") or delta.get("content") or delta.get("reasoning_content")
    return bool(text) or choice.get("finish_reason") is not None
