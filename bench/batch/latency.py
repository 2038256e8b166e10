"""What live requests notice of a batch: time to the first token and between tokens.

The arms take turns, each with new prompts that come at the same times, and in one of them a batch
is under way that is too long to end. The two without one differ as much as the machine does: no
ratio says more than that. Two loads:

    busy     requests that come at random, several at a time most of the time
    sparse   one request, a silence, the next: lines of the batch run in every silence, so each
             request meets one of their steps
"""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from typing import Any

import httpx
import numpy as np

from bench.batch.lines import conversations, jsonl
from bench.batch.server import Server
from bench.results import summarize
from bench.serve.client import Endpoint, Outcome, send
from bench.serve.workload import Workload, arrival_gaps_s, plan_requests

PROMPT_TOKENS, OUTPUT_TOKENS = 64, 32
SPARSE_GAP_S = 2.5
BATCH_LINES = 20_000
NUM_UNMEASURED = 2
"""Requests that end the silence before a window."""
ALONE, BESIDE, AGAIN = "alone", "beside a batch", "alone again"
ARMS = (ALONE, BESIDE, AGAIN)
"""In this order, so that a trend of the machine is the same with a batch and without."""

Samples = dict[str, dict[str, list[float]]]
"""By arm: `ttft_ms`, `inter_token_ms`."""

Figures = dict[str, dict[str, float]]
"""By the same names: mean, median, percentiles."""


def measure(
    server: Server, *, rate: float, window_s: float, repeats: int, num_sparse: int
) -> dict[str, Any]:
    """Latencies of both loads in both arms, and their ratios."""
    lines = jsonl(conversations(BATCH_LINES, 12, seed=3), server.model, max_tokens=32)
    file_id = server.upload(lines)
    busy: Samples = {arm: _no_samples() for arm in ARMS}
    sparse: Samples = {arm: _no_samples() for arm in ARMS}
    num_done, loads = 0, list[float]()
    live = _Live(server)
    num_busy = int(rate * window_s)
    live.send(num_busy, rate, repeats, _no_samples())
    for repeat in range(repeats):
        for arm in ARMS:
            batch_id = _start_batch(server, file_id) if arm == BESIDE else None
            live.send(NUM_UNMEASURED, rate, repeat, _no_samples())
            done_before = _num_done(server, batch_id)
            live.send(num_busy, rate, repeat, busy[arm])
            num_done += _num_done(server, batch_id) - done_before
            if repeat == 0 and num_sparse:
                live.send(num_sparse, 0.0, repeat, sparse[arm])
            loads.append(os.getloadavg()[0])
            if batch_id is not None:
                server.cancel(batch_id)
    return {
        "requests_per_s": rate,
        "prompt_tokens": PROMPT_TOKENS,
        "output_tokens": OUTPUT_TOKENS,
        "batch_lines_done_beside_busy": num_done,
        "load_average": [round(load, 2) for load in loads],
        "busy": report(busy),
        "sparse": report(sparse),
    }


def _no_samples() -> dict[str, list[float]]:
    return {"ttft_ms": [], "inter_token_ms": []}


def _start_batch(server: Server, file_id: str) -> str:
    """A batch whose lines fill the engine."""
    batch_id = server.create_batch(file_id)
    while server.batch(batch_id)["request_counts"]["completed"] == 0:
        time.sleep(0.2)
    return batch_id


def _num_done(server: Server, batch_id: str | None) -> int:
    return int(server.batch(batch_id)["request_counts"]["completed"]) if batch_id else 0


class _Live:
    """Requests of clients, with prompts that no request before had: none is in the prefix cache."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._prompt_seeds = itertools.count()

    def send(self, num_requests: int, rate: float, seed: int, into: dict[str, list[float]]) -> None:
        """Send requests at `rate`, or one after another with silences when it is 0.

        Args:
            seed: of the times between them.
        """
        for outcome in asyncio.run(self._outcomes(num_requests, rate, seed)):
            if outcome.error:
                raise RuntimeError(f"a live request failed: {outcome.error}")
            into["ttft_ms"].append(outcome.ttft_s * 1e3)
            into["inter_token_ms"] += [gap_s * 1e3 for gap_s in outcome.gaps_s]

    async def _outcomes(self, num_requests: int, rate: float, seed: int) -> list[Outcome]:
        endpoint = Endpoint(
            base_url=self._server.url,
            kind="completions",
            model=self._server.model,
            extra_body={"ignore_eos": True},
        )
        requests = plan_requests(
            Workload(
                num_requests=num_requests,
                input_tokens=PROMPT_TOKENS,
                output_tokens=OUTPUT_TOKENS,
                vocab_size=900,
                seed=next(self._prompt_seeds),
            )
        )
        async with httpx.AsyncClient(timeout=300.0) as client:
            if not rate:
                outcomes: list[Outcome] = []
                for request in requests:
                    await asyncio.sleep(SPARSE_GAP_S)
                    outcomes.append(await send(client, endpoint, request))
                return outcomes
            tasks: list[asyncio.Task[Outcome]] = []
            gaps = arrival_gaps_s(num_requests, rate, 1.0, seed)
            for request, gap_s in zip(requests, gaps, strict=True):
                await asyncio.sleep(gap_s)
                tasks.append(asyncio.create_task(send(client, endpoint, request)))
            return list(await asyncio.gather(*tasks))


def report(samples: Samples) -> dict[str, Any]:
    """Figures of each arm; those beside a batch over those without one, and of the latter the
    second arm's over the first's."""
    alone, beside, again = (_figures(samples[arm]) for arm in ARMS)
    without = {name: values + samples[AGAIN][name] for name, values in samples[ALONE].items()}
    return {
        ALONE: alone,
        BESIDE: beside,
        AGAIN: again,
        "ratio": _ratios(beside, _figures(without)),
        "ratio of the machine to itself": _ratios(again, alone),
    }


def _figures(of_arm: dict[str, list[float]]) -> Figures:
    return {
        name: summarize(values) | {"p95": round(float(np.percentile(values, 95)), 4)}
        for name, values in of_arm.items()
    }


def _ratios(above: Figures, below: Figures) -> Figures:
    return {
        name: {key: round(above[name][key] / below[name][key], 3) for key in below[name]}
        for name in below
    }
