"""`servax bench offline`: throughput of `engine.LLM` when all prompts are known beforehand."""

from __future__ import annotations

import argparse
import pathlib
import time
from typing import Any

from bench.environment import describe_device
from bench.random_model import make_llama
from bench.results import show_result, summarize
from bench.serve.workload import Workload, plan_requests
from engine.llm import LLM
from engine.request import SamplingParams


def main(arguments: list[str]) -> int:
    """Run the benchmark."""
    options = parser().parse_args(arguments)
    return show_result("offline", run(options), options.output)


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(prog="servax bench offline", description=__doc__)
    add = made.add_argument
    add("--model", default="", help="folder or hub id; default: a random 153M llama")
    add("--dtype", default="auto")
    add("--load-format", default="auto")
    add("--num-prompts", type=int, default=64)
    add("--input-len", type=int, default=128)
    add("--output-len", type=int, default=128)
    add("--prefix-len", type=int, default=0, help="leading tokens all prompts share")
    add("--temperature", type=float, default=0.0)
    add("--max-num-seqs", type=int, default=None)
    add("--max-num-batched-tokens", type=int, default=None)
    add("--repeats", type=int, default=3)
    add("--output", default="", help="JSON result file")
    return made


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Generate the same prompts `--repeats` times, new prompts each time."""
    model = options.model or str(make_llama(pathlib.Path("/tmp/servax-bench/llama-153m")))
    with LLM(
        model=model,
        dtype=options.dtype,
        load_format=options.load_format,
        max_num_seqs=options.max_num_seqs,
        max_num_batched_tokens=options.max_num_batched_tokens,
        enable_prefix_caching=options.prefix_len > 0,
    ) as llm:
        llm.wait_until_compiled()
        generate_once(llm, options, seed=1_000)
        seconds = [generate_once(llm, options, seed=index) for index in range(options.repeats)]
    output_tokens = options.num_prompts * options.output_len
    return {
        "arguments": vars(options),
        "device": describe_device(),
        "result": {
            "seconds": summarize(seconds),
            "output_tokens_per_s": summarize([output_tokens / value for value in seconds]),
        },
    }


def generate_once(llm: LLM, options: argparse.Namespace, seed: int) -> float:
    """Seconds to answer all prompts."""
    workload = Workload(
        num_requests=options.num_prompts,
        input_tokens=options.input_len,
        output_tokens=options.output_len,
        prefix_tokens=options.prefix_len,
        seed=seed,
    )
    prompts = [list(request.prompt_token_ids) for request in plan_requests(workload)]
    sampling = SamplingParams(
        max_tokens=options.output_len, temperature=options.temperature, ignore_eos=True, seed=seed
    )
    start_s = time.perf_counter()
    outputs = llm.generate(prompts, sampling)
    duration_s = time.perf_counter() - start_s
    made = sum(len(output.outputs[0].token_ids) for output in outputs)
    assert made == options.num_prompts * options.output_len, made
    return duration_s
