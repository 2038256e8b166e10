"""`servax bench batch`: throughput of a batch beside the engine alone, and what live requests
notice of it. Both with the embedded model."""

from __future__ import annotations

import argparse
import pathlib
import tempfile
from typing import Any

from bench.batch import latency, throughput
from bench.batch.server import Server
from bench.results import show_result


def main(arguments: list[str]) -> int:
    """Run the benchmark."""
    options = parser().parse_args(arguments)
    return show_result("batch", run(options), options.output)


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(prog="servax bench batch", description=__doc__)
    add = made.add_argument
    add("--part", choices=("all", "throughput", "latency"), default="all")
    add("--num-lines", type=int, default=10_000)
    add("--words", type=int, default=12, help="of each line's question")
    add("--output-len", type=int, default=32)
    add("--request-rate", type=float, default=4.0, help="live requests a second")
    add("--window-s", type=float, default=15.0, help="of live requests in each arm and repeat")
    add("--repeats", type=int, default=6)
    add("--sparse-requests", type=int, default=10)
    add("--output", default="", help="JSON result file")
    return made


def run(options: argparse.Namespace) -> dict[str, Any]:
    """The parts that are asked for, on one server."""
    result: dict[str, Any] = {}
    with (
        tempfile.TemporaryDirectory(prefix="servax-bench-batch-") as folder,
        Server(pathlib.Path(folder), []) as server,
    ):
        if options.part != "throughput":
            result["latency"] = latency.measure(
                server,
                rate=options.request_rate,
                window_s=options.window_s,
                repeats=options.repeats,
                num_sparse=options.sparse_requests,
            )
        if options.part != "latency":
            result["throughput"] = throughput.measure(
                server, options.num_lines, options.words, options.output_len
            )
    return {"arguments": vars(options), "result": result}
