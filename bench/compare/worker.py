"""One engine in a process of its own: reads runs from stdin, answers timings on stdout.

`python -m bench.compare.worker servax|transformers FOLDER DTYPE CONCURRENCY`. A run is a JSON line
{"concurrency", "input_len", "output_len", "seed"}; its answer a line `RESULT {"seconds",
"output_tokens"}`. The first line answered is `RESULT {"ready": true}`.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

Prompts = list[list[int]]
Generate = Callable[[Prompts, int], int]


def servax_engine(folder: str, dtype: str, concurrency: int) -> Generate:
    """`engine.LLM` in this process; returns the number of tokens generated."""
    from engine.llm import LLM
    from engine.request import SamplingParams

    llm = LLM(
        model=folder,
        dtype=dtype,
        enable_prefix_caching=False,
        max_num_seqs=concurrency,
        max_model_len=1024,
    )
    llm.wait_until_compiled()

    def generate(prompts: Prompts, output_len: int) -> int:
        sampling = SamplingParams(max_tokens=output_len, temperature=0.0, ignore_eos=True)
        outputs = llm.generate(prompts, sampling)
        return sum(len(output.outputs[0].token_ids) for output in outputs)

    return generate


def transformers_engine(folder: str, dtype: str, concurrency: int) -> Generate:
    """transformers' `generate` on one static batch, its best case: equal lengths, no padding."""
    import torch
    from transformers import AutoModelForCausalLM

    del concurrency  # its batches are as large as they come

    torch.set_num_threads(os.cpu_count() or 1)
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype))
    model.eval()

    def generate(prompts: Prompts, output_len: int) -> int:
        ids = torch.tensor(prompts)
        with torch.inference_mode():
            made = model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                do_sample=False,
                min_new_tokens=output_len,
                max_new_tokens=output_len,
                pad_token_id=0,
            )
        return int((made.shape[1] - ids.shape[1]) * made.shape[0])

    return generate


ENGINES = {"servax": servax_engine, "transformers": transformers_engine}


def run_once(generate: Generate, run: dict[str, Any]) -> dict[str, Any]:
    """Time one batch of fresh prompts."""
    random = np.random.default_rng(run["seed"])
    shape = (run["concurrency"], run["input_len"])
    prompts: Prompts = random.integers(10, 30000, shape).tolist()
    start_s = time.perf_counter()
    output_tokens = generate(prompts, run["output_len"])
    return {"seconds": time.perf_counter() - start_s, "output_tokens": output_tokens}


def main() -> None:
    """Serve runs until stdin ends."""
    name, folder, dtype, concurrency = sys.argv[1:5]
    generate = ENGINES[name](folder, dtype, int(concurrency))
    answer({"ready": True})
    for line in sys.stdin:
        answer(run_once(generate, json.loads(line)))


def answer(value: dict[str, Any]) -> None:
    """One line the parent reads."""
    print("RESULT " + json.dumps(value), flush=True)


if __name__ == "__main__":
    main()
