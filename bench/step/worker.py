"""The child that measures our steps: see `bench.child`."""

from __future__ import annotations

import functools
import statistics
import time
from typing import Any

from bench.ceilings import measure_ceilings
from bench.environment import describe_device
from bench.step.engine import MeasuredRunner, demand_of, make_engine, make_plans
from bench.step.loads import StepLoad, roofline
from bench.step.trace import trace_steps
from bench.timing import spread
from engine.runner.model_files import ModelFiles
from engine.scheduler.plan import StepPlan

SAMPLE_S = 0.4
TRACED_STEPS = 4
MOST_IN_FLIGHT = 8
"""Steps ahead of the device: enough that it never waits, few enough to bound their results."""

describe = describe_device


def run_case(case: dict[str, Any]) -> dict[str, Any]:
    """The ceilings, or a step of a model."""
    if case["measure"] == "ceilings":
        return measure_ceilings(quick=case["quick"])
    loads = tuple(StepLoad(**load) for load in case["loads"])
    load = loads[case["index"]]
    return measure_step(case["model"], loads, load, quick=case["quick"], trace=case["trace"])


@functools.lru_cache(maxsize=1)
def _engine(model: str, loads: tuple[StepLoad, ...]) -> tuple[MeasuredRunner, ModelFiles]:
    return make_engine(model, loads)


def measure_step(
    model: str, loads: tuple[StepLoad, ...], load: StepLoad, *, quick: bool, trace: bool
) -> dict[str, Any]:
    """Time of one step of `load`; the engine has room for all of `loads`.

    Args:
        trace: say also which kernels take it.
    """
    runner, files = _engine(model, loads)
    start_s = time.perf_counter()
    bucket = runner.prepare(demand_of(load))
    compile_s = time.perf_counter() - start_s
    first, again = make_plans(runner, load)
    results = runner.launch(first).results()
    assert not any(result.is_invalid for result in results), "a step gave NaN"
    samples = time_steps(runner, again, 0.02 if quick else SAMPLE_S, 3 if quick else 5)
    needed = roofline(files.decoder, load, runner.program.weight_bytes())
    traced = trace_steps(lambda: _run(runner, again, TRACED_STEPS), TRACED_STEPS) if trace else None
    return {
        "attention": runner.program.attention.kind,
        "fallback": runner.program.attention.fallback,
        "bucket": f"{bucket.num_tokens} tokens, {bucket.num_rows} rows, {bucket.variant.name}",
        "compile_s": round(compile_s, 2),
        **spread(samples),
        **needed,
        "tokens_per_s": needed["tokens"] / statistics.median(samples),
        **({} if traced is None else {"trace": traced}),
    }


def time_steps(
    runner: MeasuredRunner, plan: StepPlan, sample_s: float, repeats: int
) -> list[float]:
    """Seconds a step, packing and launching included; steps overlap as in the engine's loop."""
    once_s = _seconds_of(runner, plan, 2) / 2
    num_steps = max(2, min(2000, round(sample_s / once_s)))
    return [_seconds_of(runner, plan, num_steps) / num_steps for _ in range(repeats)]


def _seconds_of(runner: MeasuredRunner, plan: StepPlan, num_steps: int) -> float:
    start_s = time.perf_counter()
    _run(runner, plan, num_steps)
    return time.perf_counter() - start_s


def _run(runner: MeasuredRunner, plan: StepPlan, num_steps: int) -> None:
    handles = [runner.launch(plan) for _ in range(min(MOST_IN_FLIGHT, num_steps))]
    for _ in range(num_steps - len(handles)):
        handles.append(runner.launch(plan))
        handles.pop(0).results()
    for handle in handles:
        handle.results()
