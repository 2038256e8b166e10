"""`servax bench compare`: the same weights, the same prompts, in turn, several times."""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
from typing import Any

from bench.random_model import make_llama
from bench.results import summarize, write_result
from engine.runner.environment import engine_environment

ENGINES = ("servax", "transformers")


class Worker:
    """One engine in a process of its own (see `bench.compare.worker`)."""

    def __init__(self, name: str, folder: str, dtype: str, concurrency: int) -> None:
        arguments = [name, folder, dtype, str(concurrency)]
        self.name = name
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.compare.worker", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **engine_environment("cpu", os.environ)},
        )
        self._answer()

    def run(self, run: dict[str, Any]) -> dict[str, Any]:
        """Carry out one run and return its timing."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(run) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("RESULT "):
                return json.loads(line[7:])
        raise RuntimeError(f"the {self.name} worker ended without an answer")


def main(arguments: list[str]) -> int:
    """Run the comparison."""
    options = parser().parse_args(arguments)
    figures = run(options)
    print_table(figures["result"])
    if options.output:
        print(f"written to {write_result(options.output, 'compare', figures)}")
    return 0


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(prog="servax bench compare", description=__doc__)
    add = made.add_argument
    add("--model", default="", help="Hugging Face folder; default: a random 153M llama")
    add("--dtype", default="bfloat16")
    add("--concurrency", type=int, nargs="+", default=[1, 8, 32])
    add("--input-len", type=int, default=128)
    add("--output-len", type=int, default=128)
    add("--repeats", type=int, default=3)
    add("--output", default="", help="JSON result file")
    return made


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Both engines at every concurrency, each started for it: what an operator would do."""
    folder = options.model or str(make_llama(pathlib.Path("/tmp/servax-bench/llama-153m")))
    rows: list[dict[str, Any]] = []
    for concurrency in options.concurrency:
        workers = [Worker(name, folder, options.dtype, concurrency) for name in ENGINES]
        try:
            rows.append(measure(workers, options, concurrency))
        finally:
            for worker in workers:
                worker.close()
    return {"arguments": vars(options), "result": rows}


def measure(workers: list[Worker], options: argparse.Namespace, concurrency: int) -> dict[str, Any]:
    """Warm both up, then measure them in turn: tokens a second, and their ratio pair by pair."""
    rates: dict[str, list[float]] = {worker.name: [] for worker in workers}
    for repeat in range(options.repeats + 1):
        order = workers if repeat % 2 else workers[::-1]
        for worker in order:
            timing = worker.run(
                {
                    "concurrency": concurrency,
                    "input_len": options.input_len,
                    "output_len": options.output_len,
                    "seed": repeat,
                }
            )
            rates[worker.name].append(timing["output_tokens"] / timing["seconds"])
    pairs = list(zip(rates["servax"][1:], rates["transformers"][1:], strict=True))
    return {
        "concurrency": concurrency,
        **{name: summarize(values[1:]) for name, values in rates.items()},
        "ratio": summarize([ours / theirs for ours, theirs in pairs]),
        "median_ratio": round(statistics.median(ours / theirs for ours, theirs in pairs), 3),
    }


def print_table(rows: list[dict[str, Any]]) -> None:
    """Medians, one line a concurrency."""
    print(f"{'at once':>8} {'servax tok/s':>14} {'transformers tok/s':>20} {'ratio':>8}")
    for row in rows:
        ours, theirs = row["servax"]["p50"], row["transformers"]["p50"]
        print(f"{row['concurrency']:>8} {ours:>14.1f} {theirs:>20.1f} {row['median_ratio']:>8.2f}")
