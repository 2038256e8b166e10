"""`servax bench ledger`: what the usage ledger costs, two servers side by side, in turn.

The one without drops every record at once and waits for none; nothing else differs. Short answers,
so that there are many records for the tokens.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import pathlib
import tempfile
import time
from typing import Any

import httpx

from bench.batch.server import Server
from bench.results import show_result, summarize
from bench.serve.client import Endpoint, send
from bench.serve.workload import PlannedRequest, Workload, plan_requests

WITHOUT = """
import sys
from api.keys.accounts import Ledger
Ledger.add = lambda self, record: None
from api.cli import main
sys.exit(main(sys.argv[1:]))
"""
ARMS = ("with", "without")


def main(arguments: list[str]) -> int:
    """Run the benchmark."""
    options = parser().parse_args(arguments)
    return show_result("ledger", run(options), options.output)


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(prog="servax bench ledger", description=__doc__)
    add = made.add_argument
    add("--num-requests", type=int, default=300, help="in each arm and repeat")
    add("--concurrency", type=int, default=16)
    add("--output-len", type=int, default=8)
    add("--repeats", type=int, default=6)
    add("--output", default="", help="JSON result file")
    return made


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Requests a second of each, and the share that the ledger costs, by pairs of runs."""
    rates: dict[str, list[float]] = {arm: [] for arm in ARMS}
    loads: list[float] = []
    with contextlib.ExitStack() as stack:
        servers = {
            arm: stack.enter_context(_server(stack, program))
            for arm, program in zip(ARMS, (("-m", "api.cli"), ("-c", WITHOUT)), strict=True)
        }
        for arm in ARMS:
            _requests_per_s(servers[arm], options, seed=0)
        for repeat in range(options.repeats):
            for arm in ARMS if repeat % 2 == 0 else ARMS[::-1]:
                rates[arm].append(_requests_per_s(servers[arm], options, seed=repeat + 1))
            loads.append(round(os.getloadavg()[0], 2))
    pairs = zip(rates["with"], rates["without"], strict=True)
    return {
        "arguments": vars(options),
        "result": {
            "requests_per_s": {arm: summarize(values) for arm, values in rates.items()},
            "cost": summarize([1 - kept / dropped for kept, dropped in pairs]),
            "load_average": loads,
        },
    }


def _server(stack: contextlib.ExitStack, program: tuple[str, str]) -> Server:
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="servax-bench-ledger-"))
    return Server(pathlib.Path(folder), [], program=program)


def _requests_per_s(server: Server, options: argparse.Namespace, seed: int) -> float:
    requests = plan_requests(
        Workload(
            num_requests=options.num_requests,
            input_tokens=16,
            output_tokens=options.output_len,
            vocab_size=900,
            seed=seed,
        )
    )
    started_s = time.perf_counter()
    asyncio.run(_send_all(server, requests, options.concurrency))
    return options.num_requests / (time.perf_counter() - started_s)


async def _send_all(server: Server, requests: list[PlannedRequest], concurrency: int) -> None:
    endpoint = Endpoint(
        base_url=server.url,
        kind="completions",
        model=server.model,
        extra_body={"ignore_eos": True},
    )
    gate = asyncio.Semaphore(concurrency)
    async with httpx.AsyncClient(timeout=300.0) as client:

        async def one(request: PlannedRequest) -> None:
            async with gate:
                outcome = await send(client, endpoint, request)
            if outcome.error:
                raise RuntimeError(outcome.error)

        await asyncio.gather(*map(one, requests))
