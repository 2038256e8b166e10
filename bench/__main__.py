"""`python -m bench NAME …`, also reached as `servax bench NAME …` from a checkout."""

from __future__ import annotations

import importlib
import sys

BENCHMARKS = {
    "serve": ("bench.serve.command", "load on any OpenAI endpoint: latencies, throughput, goodput"),
    "offline": ("bench.offline", "throughput of engine.LLM on prompts known beforehand"),
    "batch": ("bench.batch.command", "a batch beside the engine alone, and beside live requests"),
    "flood": ("bench.flood", "how soon the requests beyond a key's places get their 429"),
    "ledger": ("bench.ledger", "what the usage ledger costs: servers with and without, in turn"),
    "host": ("bench.host", "host time of a step (schedule, pack, settle) without a model"),
    "kernels": (
        "bench.kernels.command",
        "attention and sampling kernels, beside the ceilings of the device",
    ),
    "step": (
        "bench.step.command",
        "whole steps of a model, dummy weights, beside the roofline",
    ),
    "plot": ("bench.plot", "a picture of a result of kernels or step"),
    "structured": ("bench.structured", "what a grammar costs: constrained and free runs in turn"),
    "compare": ("bench.compare", "servax beside transformers' generate, interleaved"),
}


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark named first; returns its exit status (2: no such benchmark)."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments or arguments[0] not in BENCHMARKS:
        print(usage(), file=sys.stderr)
        return 0 if arguments[:1] in (["-h"], ["--help"]) else 2
    module = importlib.import_module(BENCHMARKS[arguments[0]][0])
    return int(module.main(arguments[1:]))


def usage() -> str:
    """One line a benchmark."""
    rows = [f"  {name:10}{help_text}" for name, (_, help_text) in BENCHMARKS.items()]
    return "usage: servax bench NAME [options]   (NAME --help lists its options)\n" + "\n".join(
        rows
    )


if __name__ == "__main__":
    sys.exit(main())
