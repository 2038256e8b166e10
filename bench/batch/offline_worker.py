"""`engine.LLM` for `bench.child`: answers conversations without server, files or database."""

from __future__ import annotations

import time
from typing import Any

from bench.environment import describe_device
from engine.llm import LLM
from engine.request import SamplingParams

_LOADED: list[LLM] = []


def describe() -> dict[str, Any]:
    """The device, when the model is loaded and every step compiled."""
    llm = LLM(max_num_queued_reqs=0)
    llm.wait_until_compiled()
    _LOADED.append(llm)
    return describe_device()


def run_case(case: dict[str, Any]) -> dict[str, Any]:
    """Answer `chats` with `max_tokens` each; seconds, of processors too, and the texts."""
    sampling = SamplingParams(max_tokens=case["max_tokens"], temperature=0.0, ignore_eos=True)
    started_s, cpu_s = time.perf_counter(), time.process_time()
    outputs = _LOADED[0].chat(case["chats"], sampling)
    return {
        "seconds": time.perf_counter() - started_s,
        "cpu_seconds": time.process_time() - cpu_s,
        "texts": [output.outputs[0].text for output in outputs],
    }
