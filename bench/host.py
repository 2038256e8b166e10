"""`servax bench host`: host time of a step (schedule, pack, settle) with the model stubbed out.

Everything but the device is the engine's own: core, scheduler, page pool, packing, results. Here,
and nowhere else, the compiled step is replaced by an array of made-up tokens.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any, cast

import jax
import numpy as np
import numpy.typing as npt

from bench.results import show_result, summarize
from engine.config import SchedulerConfig
from engine.core import EngineCore
from engine.request import GenerateRequest, SamplingParams
from engine.runner.buckets import Bucket, Variant
from engine.runner.fields import StepFields, step_fields
from engine.runner.handle import RowPlaces, StepHandle
from engine.runner.inputs import RowTable, SlotTable, demand_of, pack_sampler, pack_step
from engine.runner.step import NUM_GREEDY_COLUMNS
from engine.sampling.bad_words import MAX_STEP_BANS
from engine.sampling.parameters import NUM_PARAMETER_FIELDS
from engine.scheduler.plan import StepLimits, StepPlan
from engine.scheduler.scheduler import Scheduler

PAGE_SIZE = 64
MAX_MODEL_LEN = 4096
PROMPT_TOKENS = 512
MAX_BATCHED_TOKENS = 8192


class StubArray:
    """A device array that is already on the host."""

    def __init__(self, values: npt.NDArray[np.int32]) -> None:
        self._values = values
        self.size = values.size

    def copy_to_host_async(self) -> None:
        """Nothing to copy."""

    def __array__(self, *arguments: object, **options: object) -> npt.NDArray[np.int32]:
        return self._values


class StubRunner:
    """Packs every plan as the real runner does, and computes nothing."""

    num_compiled_steps = num_planned_steps = 1
    num_compilations_after_ready = 0

    def __init__(self, num_slots: int) -> None:
        self._slots = SlotTable(num_slots, eos_token_ids=(0,))
        self._num_slots = num_slots
        self._fields: dict[Bucket, StepFields] = {}
        self._nothing = StubArray(np.zeros((0, 0), np.int32))

    def limits(self) -> StepLimits:
        """Everything is compiled."""
        return StepLimits(self._num_slots, MAX_BATCHED_TOKENS, True)

    def launch(self, plan: StepPlan) -> StepHandle:
        """Pack the plan; the tokens are 7, whatever was asked."""
        for row in plan.rows:
            if row.is_new_slot:
                self._slots.take(row)
        shards = [RowTable(plan.rows)]
        demand = demand_of(shards, self._slots)
        num_tokens = demand.num_rows if demand.is_decode else MAX_BATCHED_TOKENS
        bucket = Bucket(num_tokens, demand.num_rows, Variant.FULL, demand.is_decode)
        fields = self._fields_of(bucket)
        packed = pack_step(shards, plan, fields, self._slots)
        pack_sampler(packed, shards, fields, self._slots)
        results = np.zeros((bucket.num_rows, NUM_GREEDY_COLUMNS), np.int32)
        results[:, 0] = 7
        places = RowPlaces.of(shards, [0] * len(plan.rows), bucket)
        return StepHandle(
            plan.rows,
            places,
            cast("jax.Array", StubArray(results)),
            cast("jax.Array", self._nothing),
        )

    def recover(self) -> None:
        """There is nothing that could break."""

    def _fields_of(self, bucket: Bucket) -> StepFields:
        if bucket not in self._fields:
            self._fields[bucket] = step_fields(
                bucket,
                max_pages=MAX_MODEL_LEN // PAGE_SIZE,
                num_parameters=NUM_PARAMETER_FIELDS,
                max_bans=MAX_STEP_BANS,
            )
        return self._fields[bucket]


def main(arguments: list[str]) -> int:
    """Run the benchmark."""
    options = parser().parse_args(arguments)
    rows = [measure(number, options.steps) for number in options.sequences]
    return show_result("host", {"arguments": vars(options), "result": rows}, options.output)


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(prog="servax bench host", description=__doc__)
    made.add_argument("--sequences", type=int, nargs="+", default=[1, 64, 256])
    made.add_argument("--steps", type=int, default=500)
    made.add_argument("--output", default="", help="JSON result file")
    return made


def measure(num_sequences: int, num_steps: int) -> dict[str, Any]:
    """Milliseconds of host time a step while `num_sequences` decode; CPU and wall."""
    core = make_core(num_sequences)
    for index in range(num_sequences):
        core.add(make_request(index))
    while core.stats.num_waiting or core.stats.last_step_tokens != num_sequences:
        core.step()
    samples = [time_step(core.step) for _ in range(num_steps)]
    return {
        "sequences": num_sequences,
        "cpu_ms": summarize([cpu for cpu, _ in samples]),
        "wall_ms": summarize([wall for _, wall in samples]),
    }


def make_core(num_sequences: int) -> EngineCore:
    """The engine's own loop around the stub."""
    config = SchedulerConfig(
        num_pages=num_sequences * (MAX_MODEL_LEN // PAGE_SIZE) + 1,
        page_size=PAGE_SIZE,
        max_num_seqs=num_sequences,
        max_num_batched_tokens=MAX_BATCHED_TOKENS,
        prefill_chunk_tokens=MAX_BATCHED_TOKENS,
        max_model_len=MAX_MODEL_LEN,
        max_num_queued_requests=0,
    )
    return EngineCore(Scheduler(config, (0,)), StubRunner(num_sequences))


def make_request(index: int) -> GenerateRequest:
    """A prompt of its own; lengths differ, so that page borders are met at different steps."""
    prompt = [1 + (index * 7919 + position) % 30000 for position in range(PROMPT_TOKENS + index)]
    sampling = SamplingParams(max_tokens=3000, temperature=0.8, top_p=0.9, ignore_eos=True, seed=1)
    return GenerateRequest(
        request_id=f"r{index}", prompt_token_ids=tuple(prompt), sampling=sampling
    )


def time_step(step: Callable[[], object]) -> tuple[float, float]:
    """Milliseconds of this thread's processor, and of the clock."""
    wall_ns, cpu_ns = time.perf_counter_ns(), time.thread_time_ns()
    step()
    return (time.thread_time_ns() - cpu_ns) / 1e6, (time.perf_counter_ns() - wall_ns) / 1e6
