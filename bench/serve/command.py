"""`servax bench serve`: send a workload to an endpoint and print what its users would see."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import os
import time
from typing import Any

import httpx

from bench.results import write_result
from bench.serve.client import Endpoint, Outcome, send
from bench.serve.report import parse_objective, report
from bench.serve.workload import PlannedRequest, Workload, arrival_gaps_s, plan_requests


def main(arguments: list[str]) -> int:
    """Run the benchmark; exit status 1 when any request failed."""
    options = parser().parse_args(arguments)
    figures = asyncio.run(run(options))
    print(json.dumps(figures["result"], indent=1))
    if options.output:
        print(f"written to {write_result(options.output, 'serve', figures)}")
    return 1 if figures["result"]["num_failed"] else 0


def parser() -> argparse.ArgumentParser:
    """The options; names are `vllm bench serve`'s where it has them."""
    made = argparse.ArgumentParser(prog="servax bench serve", description=__doc__)
    add = made.add_argument
    add("--base-url", default="http://127.0.0.1:8000", help="without /v1")
    add("--model", default="", help="default: the first of /v1/models")
    add("--endpoint", choices=("completions", "chat"), default="completions")
    add("--api-key", default=os.environ.get("OPENAI_API_KEY", ""))
    add("--num-prompts", type=int, default=100)
    add("--num-warmups", type=int, default=4)
    add("--random-input-len", type=int, default=128, help="tokens of a prompt, prefix included")
    add("--random-output-len", type=int, default=128)
    add("--random-prefix-len", type=int, default=0, help="leading tokens all prompts share")
    add("--random-range-ratio", type=float, default=0.0, help="lengths vary by ± this share")
    add("--vocab-size", type=int, default=1000, help="prompt ids are drawn below it")
    add("--request-rate", type=float, default=float("inf"), help="requests a second")
    add("--burstiness", type=float, default=1.0, help="1 = Poisson arrivals, less = burstier")
    add("--max-concurrency", type=int, default=None, help="most requests at once")
    add("--goodput", nargs="*", default=[], help="service level in ms, e.g. ttft:500 tpot:50")
    add("--ignore-eos", action="store_true", help="always generate the full length")
    add("--extra-body", type=json.loads, default={}, help="JSON merged into every request")
    add("--seed", type=int, default=0)
    add("--timeout-s", type=float, default=600.0)
    add("--output", default="", help="JSON result file")
    return made


async def run(options: argparse.Namespace) -> dict[str, Any]:
    """Warm up, send everything, report."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx.AsyncClient(timeout=options.timeout_s, limits=limits) as client:
        endpoint = await make_endpoint(client, options)
        requests = plan_requests(make_workload(options))
        warmups = plan_requests(dataclasses.replace(make_workload(options), seed=options.seed + 7))
        await send_all(client, endpoint, warmups[: options.num_warmups], float("inf"), options)
        start_s = time.perf_counter()
        outcomes = await send_all(client, endpoint, requests, options.request_rate, options)
        duration_s = time.perf_counter() - start_s
    return {
        "arguments": {key: value for key, value in vars(options).items() if key != "api_key"},
        "model": endpoint.model,
        "result": report(outcomes, duration_s, parse_objective(options.goodput)),
    }


async def make_endpoint(client: httpx.AsyncClient, options: argparse.Namespace) -> Endpoint:
    """Fill in the model's name by asking the server when none was given."""
    extra = dict(options.extra_body) | ({"ignore_eos": True} if options.ignore_eos else {})
    endpoint = Endpoint(
        base_url=options.base_url,
        kind=options.endpoint,
        model=options.model,
        api_key=options.api_key,
        extra_body=extra,
    )
    if endpoint.model:
        return endpoint
    url = options.base_url.rstrip("/") + "/v1/models"
    answer = (await client.get(url, headers=endpoint.headers())).raise_for_status()
    return dataclasses.replace(endpoint, model=answer.json()["data"][0]["id"])


def make_workload(options: argparse.Namespace) -> Workload:
    """The workload the options describe."""
    return Workload(
        num_requests=options.num_prompts,
        input_tokens=options.random_input_len,
        output_tokens=options.random_output_len,
        prefix_tokens=options.random_prefix_len,
        range_ratio=options.random_range_ratio,
        vocab_size=options.vocab_size,
        seed=options.seed,
    )


async def send_all(
    client: httpx.AsyncClient,
    endpoint: Endpoint,
    requests: list[PlannedRequest],
    rate: float,
    options: argparse.Namespace,
) -> list[Outcome]:
    """Send requests at their arrival times, at most `--max-concurrency` at once."""
    gate = asyncio.Semaphore(options.max_concurrency or max(1, len(requests)))

    async def one(request: PlannedRequest) -> Outcome:
        async with gate:
            return await send(client, endpoint, request)

    tasks: list[asyncio.Task[Outcome]] = []
    gaps = arrival_gaps_s(len(requests), rate, options.burstiness, options.seed)
    for request, gap_s in zip(requests, gaps, strict=True):
        if gap_s:
            await asyncio.sleep(gap_s)
        tasks.append(asyncio.create_task(one(request)))
    return list(await asyncio.gather(*tasks))
