"""The runner: owns weights, pages and slot state on the device, and launches plans."""

from __future__ import annotations

import threading
from collections.abc import Callable
from collections.abc import Sequence as Items
from typing import Any

import jax
import msgspec
import numpy as np

from engine.runner.arguments import StepProgram
from engine.runner.buckets import Bucket, Variant, all_buckets, limits_of, pick
from engine.runner.compile import CompilationCounter
from engine.runner.executables import (
    SamplerExecutable,
    StepExecutable,
    compile_reset,
    compile_sampler,
    compile_step,
    compile_write_slot_row,
)
from engine.runner.handle import Allowed, RowPlaces, StepHandle
from engine.runner.inputs import (
    RowTable,
    SlotTable,
    demand_of,
    pack_embeds,
    pack_sampler,
    pack_step,
)
from engine.runner.step import ForwardOutputs, StepOutputs
from engine.sampling import slot_row
from engine.scheduler.plan import PlannedRow, StepLimits, StepPlan


class Runner:
    """One thread calls `launch`; another may be in `warm_up` at the same time.

    Args:
        program: what is fixed about all steps.
        num_pages: of the pool, the trash page included.
        eos_token_ids: of the model.
        counter: shared by the process.
    """

    def __init__(
        self,
        program: StepProgram,
        *,
        num_pages: int,
        eos_token_ids: tuple[int, ...],
        counter: CompilationCounter,
    ) -> None:
        self.program = program
        self.num_pages = num_pages
        self.buckets = all_buckets(program.config)
        self._eos_token_ids = eos_token_ids
        self._counter = counter
        self._slots = SlotTable(program.config.max_num_seqs, eos_token_ids)
        self._executables: dict[Bucket, StepExecutable] = {}
        self._samplers: dict[int, SamplerExecutable] = {}
        self._limits = StepLimits(0, 0, False)
        # Pages and slot state pass from step to step; a step and a trial run must not both take
        # them. Launching is asynchronous, so the lock is held for microseconds.
        self._lock = threading.Condition()
        self._is_closed = threading.Event()
        self._has_pages = True
        self._weights: list[jax.Array] = []
        with counter.planned():
            self._reset = compile_reset(program, num_pages)
            self._write_slot_row = compile_write_slot_row(program)
        self._kv, self._state = self._reset()

    # ---- what can be run

    @property
    def num_compiled_steps(self) -> int:
        """Step executables that are compiled."""
        return len(self._executables)

    @property
    def num_planned_steps(self) -> int:
        """Step executables there will be when warm-up ends."""
        return len(self.buckets)

    @property
    def num_compilations_after_ready(self) -> int:
        """Compilations outside the warm-up since `is_ready` was declared; 0 in a sound engine."""
        return self._counter.num_unplanned

    def limits(self) -> StepLimits:
        """The largest step that is compiled at this moment."""
        return self._limits

    def compile_first(self) -> None:
        """Compile the bucket that serves everything. Needs no weights yet."""
        self._compile(self.buckets[0])

    def use_weights(self, weights: list[jax.Array]) -> None:
        """Take the model's weights, in the order of `program.placements`."""
        with self._lock:
            self._weights = weights
            self._lock.notify_all()

    def give_up_weights(self) -> list[jax.Array]:
        """The weights, which are nobody's from now on; nothing is launched without any."""
        with self._lock:
            weights, self._weights = self._weights, []
            return weights

    def release_pages(self) -> None:
        """Free pages and slot state; nothing is launched until `restore_pages`."""
        with self._lock:
            self._has_pages = False
            self._release()

    def restore_pages(self) -> None:
        """Fresh pages and slot state after `release_pages`.

        Raises:
            Exception: the device has no room for them.
        """
        with self._lock:
            self._kv, self._state = self._reset()
            jax.block_until_ready(self._kv)
            self._has_pages = True
            self._lock.notify_all()

    def warm_up(self, on_progress: Callable[[int, int], None] = lambda done, total: None) -> None:
        """Compile every bucket, cheapest users first, and run each once on padding.

        May run in a thread of its own while steps are launched. Returns early after `close`.

        Args:
            on_progress: called with (compiled, planned) after each.
        """
        for bucket in self.buckets:
            if self._is_closed.is_set():
                return
            if bucket not in self._executables:
                self._try_out(self._compile(bucket))
            on_progress(self.num_compiled_steps, self.num_planned_steps)

    def close(self) -> None:
        """Let a `warm_up` in another thread end after the compilation it is in."""
        self._is_closed.set()
        with self._lock:
            self._lock.notify_all()

    def _compile(self, bucket: Bucket) -> StepExecutable:
        executable = self.compile_programs(bucket)
        self._limits = self._limits_now()
        return executable

    def compile_programs(self, bucket: Bucket) -> StepExecutable:
        """Compile a bucket and what samples its rows, without raising `limits`."""
        with self._counter.planned():
            executable = compile_step(self.program, bucket, self.num_pages)
            if bucket.variant is not Variant.GREEDY and bucket.num_rows not in self._samplers:
                sampler = compile_sampler(self.program, bucket)
                self._samplers = {**self._samplers, bucket.num_rows: sampler}
        # A new dictionary, not a new entry: `launch` may be reading the old one.
        self._executables = {**self._executables, bucket: executable}
        return executable

    def _limits_now(self) -> StepLimits:
        limits = limits_of(self._executables)
        config = self.program.config
        # A data shard has room for its own slots; before, all rows may happen to be on one shard.
        if limits.max_rows >= config.max_num_seqs // config.data_parallel_size:
            return msgspec.structs.replace(limits, max_rows=config.max_num_seqs)
        return limits

    def _try_out(self, executable: StepExecutable) -> None:
        """The first run of an executable is slow; let nobody wait for it."""
        shards = self._empty_shards()
        with self._lock:
            # Before the first weights, too, nothing is tried out: `compile_first` needs none.
            self._lock.wait_for(lambda: self._is_closed.is_set() or self._can_launch())
            if self._is_closed.is_set():
                return
            padding = pack_step(shards, _NO_PLAN, executable.fields, self._slots)
            outputs = self._call(executable, padding)
            if isinstance(outputs, StepOutputs):
                results_RX = outputs.results_RX
            else:
                sampler = self._samplers[executable.bucket.num_rows]
                columns = pack_sampler(padding, shards, sampler.fields, self._slots)
                results_RX, _ = self._call_sampler(sampler, outputs.logits_RV, columns, None)
        results_RX.block_until_ready()

    def _can_launch(self) -> bool:
        return bool(self._weights) and self._has_pages

    # ---- steps

    def launch(self, plan: StepPlan) -> StepHandle:
        """Start a step and return at once. A plan without rows is a proof of life.

        Of a plan that `needs_settled` the tokens are chosen by `StepHandle.sample`.

        Raises:
            LookupError: the plan exceeds `limits`.
        """
        for row in plan.rows:
            if row.is_new_slot:
                self._slots.take(row)
        shards, shard_of_row = self._split(plan.rows)
        demand = demand_of(shards, self._slots)
        executable = self._executables[pick(self._executables, demand)]
        packed = pack_step(shards, plan, executable.fields, self._slots)
        embeds_TD = self._pack_embeds(shards, executable.bucket)
        with self._lock:
            self._write_new_slots(plan.rows)
            outputs = self._call(executable, packed, embeds_TD)
        places = RowPlaces.of(shards, shard_of_row, executable.bucket)
        if isinstance(outputs, StepOutputs):
            return StepHandle(plan.rows, places, outputs.results_RX, outputs.scores_TX)
        sampler = self._samplers[executable.bucket.num_rows]

        def sample(allowed: Allowed) -> tuple[jax.Array, jax.Array]:
            columns = pack_sampler(packed, shards, sampler.fields, self._slots)
            allowed_RW = _mask(sampler.everything_RW.shape, places, allowed)
            with self._lock:
                return self._call_sampler(sampler, outputs.logits_RV, columns, allowed_RW)

        handle = StepHandle(plan.rows, places, sample, outputs.scores_TX)
        if not plan.needs_settled:
            handle.sample({})
        return handle

    def prove_life(self) -> None:
        """Run an empty step to its end.

        Raises:
            Exception: whatever the device reports.
        """
        self.launch(StepPlan(0, (), np.zeros((0, 0), np.int32))).results()

    def recover(self) -> None:
        """Fresh pages and slot state after a failed step, whose arrays may be gone.

        Raises:
            Exception: the device cannot even do that.
        """
        with self._lock:
            self._release()
            self._kv, self._state = self._reset()
            jax.block_until_ready(self._kv)

    def _release(self) -> None:
        """Let go of pages before new ones are made: there is no room for both."""
        for array in jax.tree.leaves((self._kv, self._state)):
            array.delete()

    def _pack_embeds(self, shards: Items[RowTable], bucket: Bucket) -> np.ndarray | None:
        if not self.program.model.takes_embeds(bucket):
            return None
        width = self.program.decoder.d_model
        return pack_embeds(shards, bucket.num_tokens, width, self._slots)

    def _call(
        self,
        executable: StepExecutable,
        packed: np.ndarray,
        embeds_TD: np.ndarray | None = None,
    ) -> StepOutputs | ForwardOutputs:
        outputs = executable(self._weights, self._kv, self._state, packed, embeds_TD)
        self._kv = outputs.kv
        if isinstance(outputs, StepOutputs):
            self._state = outputs.state
        return outputs

    def _call_sampler(
        self,
        sampler: SamplerExecutable,
        logits_RV: jax.Array,
        columns: np.ndarray,
        allowed_RW: np.ndarray | None,
    ) -> tuple[jax.Array, jax.Array]:
        outputs = sampler(logits_RV, self._state, columns, allowed_RW)
        self._state = outputs.state
        return outputs.results_RX, outputs.wanted_RK

    def _write_new_slots(self, rows: Items[PlannedRow]) -> None:
        vocab_size = self.program.decoder.vocab_size
        for row in rows:
            if row.is_new_slot:
                state_row = slot_row(row.sequence, self._eos_token_ids, vocab_size)
                if state_row is not None:
                    slot_index = np.int32(row.slot_index)
                    self._state = self._write_slot_row(self._state, slot_index, state_row)

    def _empty_shards(self) -> list[RowTable]:
        return [RowTable(()) for _ in range(self.program.num_data_shards)]

    def _split(self, rows: Items[PlannedRow]) -> tuple[list[RowTable], list[int]]:
        """Rows by data shard (slots are dealt in equal ranges), and the shard of each row."""
        num_shards = self.program.num_data_shards
        if num_shards == 1:
            return [RowTable(rows)], [0] * len(rows)
        slots_per_shard = self.program.config.max_num_seqs // num_shards
        shard_of_row = [row.slot_index // slots_per_shard for row in rows]
        parts: list[list[PlannedRow]] = [[] for _ in range(num_shards)]
        for row, shard in zip(rows, shard_of_row, strict=True):
            parts[shard].append(row)
        return [RowTable(part) for part in parts], shard_of_row


def _mask(shape: tuple[int, ...], places: RowPlaces, allowed: Allowed) -> np.ndarray | None:
    """uint32 `[rows of all shards, W]`; None when every row may choose any id."""
    if not allowed:
        return None
    mask_RW = np.full(shape, 0xFFFFFFFF, np.uint32)
    for row_index, allowed_W in allowed.items():
        mask_RW[places.lines[row_index]] = allowed_W
    return mask_RW


_NO_PLAN: Any = None
"""`pack_step` reads nothing of a plan when no shard has rows."""
