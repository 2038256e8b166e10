"""`servax bench flood`: one key sends ten times what a server holds; how soon it is refused.

Ten times as many clients as there are places ask again and again, after a refusal when
`retry-after` says. The server's own time is from a request's head to its answer's, in whole
milliseconds; the client's has the connection in it, and the client itself, which is one process
for all of them.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import pathlib
import tempfile
import time
from typing import Any

import httpx

from bench.batch.lines import CHAT
from bench.batch.server import Server
from bench.results import show_result, summarize

KEYS = ("sk-flood", "sk-other")
TIMES_CAPACITY = 10
REFUSED = 429
SETTLE_S = 2.0


def main(arguments: list[str]) -> int:
    """Run the benchmark."""
    options = parser().parse_args(arguments)
    return show_result("flood", run(options), options.output)


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(prog="servax bench flood", description=__doc__)
    add = made.add_argument
    add("--max-num-seqs", type=int, default=4)
    add("--max-num-queued-reqs", type=int, default=12)
    add("--seconds", type=float, default=10.0)
    add("--output", default="", help="JSON result file")
    return made


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Milliseconds of the refusals while the flood lasts."""
    flags = ["--max-num-seqs", str(options.max_num_seqs), "--api-key", *KEYS]
    flags += ["--max-num-queued-reqs", str(options.max_num_queued_reqs)]
    with (
        tempfile.TemporaryDirectory(prefix="servax-bench-flood-") as folder,
        Server(pathlib.Path(folder), flags, key=KEYS[0]) as server,
    ):
        result = asyncio.run(_flood(server, options))
    return {"arguments": vars(options), "result": result}


async def _flood(server: Server, options: argparse.Namespace) -> dict[str, Any]:
    capacity = options.max_num_seqs + options.max_num_queued_reqs
    headers = {"authorization": f"Bearer {KEYS[0]}"}
    limits = httpx.Limits(max_connections=None)
    answers: list[dict[str, Any]] = []
    async with httpx.AsyncClient(
        base_url=server.url, headers=headers, timeout=600.0, limits=limits
    ) as client:
        num_clients = TIMES_CAPACITY * capacity
        starts_s = [index / num_clients for index in range(num_clients)]
        clients = [
            asyncio.create_task(_insist(client, server.model, start_s, answers))
            for start_s in starts_s
        ]
        await asyncio.sleep(SETTLE_S)
        num_before = len(answers)
        await asyncio.sleep(options.seconds)
        for task in clients:
            task.cancel()
        await asyncio.gather(*clients, return_exceptions=True)
    seen = answers[num_before:]
    refused = [one for one in seen if one["status"] == REFUSED]
    return {
        "num_clients": num_clients,
        "num_places": capacity,
        "num_answered": sum(one["status"] == 200 for one in seen),
        "num_refused": len(refused),
        "num_refused_without_retry_after": sum(not one["retry_after"] for one in refused),
        "server_ms": _figures([one["server_ms"] for one in refused]),
        "client_ms": _figures([one["client_ms"] for one in refused]),
        "load_average": round(os.getloadavg()[0], 2),
    }


def _figures(values: list[float]) -> dict[str, float]:
    return summarize(values) | {"share_below_10": sum(value < 10 for value in values) / len(values)}


async def _insist(
    client: httpx.AsyncClient, model: str, start_s: float, answers: list[dict[str, Any]]
) -> None:
    """Ask again and again, after a refusal when `retry-after` says."""
    await asyncio.sleep(start_s)
    while True:
        answers.append(answer := await _ask(client, model))
        await asyncio.sleep(float(answer["retry_after"] or 0))


async def _ask(client: httpx.AsyncClient, model: str) -> dict[str, Any]:
    body = {
        "model": model,
        "messages": [{"role": "user", "content": "hi"}],
        "max_tokens": 256,
        "ignore_eos": True,
    }
    started_s = time.perf_counter()
    answer = await client.post(CHAT, json=body)
    return {
        "status": answer.status_code,
        "client_ms": (time.perf_counter() - started_s) * 1e3,
        "server_ms": float(answer.headers["openai-processing-ms"]),
        "retry_after": answer.headers.get("retry-after", ""),
    }
