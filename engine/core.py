"""The loop: schedule → launch → settle, one step behind.

    plan N+1 is made while step N runs      plan   0   1   2   3
    results of N are read while N+1 runs    device   0   1   2   3
                                            settle       0   1   2

Where the host has a say in a token (a grammar, a bad word), step N+1 is launched up to its logits,
N is settled, and then N+1 is told what it may choose: the device does not wait for the host.

A fault in any stage ends exactly the sequences at fault. Whatever was launched is thrown away,
every sequence goes back to its settled tokens, and the suspects run again in quarantine
(`engine.quarantine`). A device that cannot run even an empty step ends the engine.

Knows neither sockets nor threads; who calls `step` owns the clock and the waiting.
"""

from __future__ import annotations

import bisect
import collections
import dataclasses
import logging
import time
from collections.abc import Callable
from collections.abc import Sequence as Items

import msgspec

from engine.core_protocol import FaultHook, Stage, StepHandle, StepRunner
from engine.errors import EngineDiedError, SequenceError
from engine.grammar.guided import is_guided
from engine.grammar.library import GuideLibrary
from engine.quarantine import Quarantine
from engine.request import (
    STEP_TOKENS_BOUNDS,
    EngineStats,
    ErrorInfo,
    GenerateRequest,
    TokenDelta,
)
from engine.scheduler.plan import StepPlan
from engine.scheduler.scheduler import Scheduler
from engine.sequence import Sequence, SequenceStatus

PROOF_MAX_AGE_S = 1.0
"""A step completed within this many seconds is proof of life enough."""

_logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True)
class _Launched:
    """A step on the device; `launched_s` is a time of the core's clock."""

    plan: StepPlan
    handle: StepHandle
    launched_s: float


class EngineCore:
    """Runs a scheduler's plans on a runner. One thread calls it."""

    def __init__(
        self,
        scheduler: Scheduler,
        runner: StepRunner,
        *,
        clock: Callable[[], float] = time.monotonic,
        faults: FaultHook | None = None,
        guides: GuideLibrary | None = None,
    ) -> None:
        self._scheduler = scheduler
        self._runner = runner
        self._clock = clock
        self._faults = faults
        self._guides = guides
        self._quarantine = Quarantine()
        self._launched: collections.deque[_Launched] = collections.deque()
        self._live: dict[tuple[str, int], Sequence] = {}
        self._outbox: list[TokenDelta] = []
        self._stage = Stage.SCHEDULE
        self._launching: StepPlan | None = None
        self._is_stalled = False
        self._last_step_s = clock()
        self._last_step_time_s = 0.0
        self._last_step_tokens = 0
        self._total_steps = 0
        self._total_step_tokens = 0
        self._steps_by_tokens = [0] * (len(STEP_TOKENS_BOUNDS) + 1)
        self._total_generated_tokens = 0

    # ---- what callers do between steps

    def add(self, request: GenerateRequest) -> None:
        """Queue a request.

        Raises:
            OverloadedError, RequestError: refused by the scheduler.
            SequenceError: admitting it failed; nothing of it is left behind.
        """
        try:
            if self._faults is not None:
                self._faults(Stage.ADMIT, [request.request_id])
            sequences = self._scheduler.add(request)
            if is_guided(request):
                self._open_guides(sequences)
        except Exception:
            self._scheduler.abort(request.request_id)
            raise
        for sequence in sequences:
            self._live[request.request_id, sequence.sequence_index] = sequence

    def _open_guides(self, sequences: list[Sequence]) -> None:
        if self._guides is None:
            raise SequenceError("this engine has no tokenizer to guide its output with")
        self._guides.open(sequences)

    def abort(self, request_id: str, sequence_indices: Items[int] = ()) -> None:
        """End these sequences (all when empty). No delta follows; unknown ids are ignored."""
        gone = [
            key
            for key in self._live
            if key[0] == request_id and (not sequence_indices or key[1] in sequence_indices)
        ]
        self._scheduler.abort(request_id, sequence_indices)
        self._quarantine.clear([self._live.pop(key) for key in gone])

    def reset_prefix_cache(self) -> None:
        """Forget cached pages that no running sequence holds."""
        self._scheduler.reset_prefix_cache()

    def drain_device(self) -> list[TokenDelta]:
        """Settle whatever was launched and launch nothing; what was gained.

        Raises:
            EngineDiedError: the device is beyond recovery.
        """
        try:
            self._settle_all_but(0)
        except Exception as error:
            self._contain(error)
        return self._take_outbox()

    def recompute_all(self) -> None:
        """Forget all pages: every sequence computes anew what it has, to the same bytes.
        Only after `drain_device`."""
        self._scheduler.recompute_all()

    def prove_life(self) -> float:
        """Seconds since a device step completed.

        If that is long ago and none is under way, an empty one is run.

        Raises:
            EngineDiedError: the device cannot run a step.
        """
        if not self._launched and self.step_age_s > PROOF_MAX_AGE_S:
            self._run_empty_step()
        return self.step_age_s

    def has_work(self) -> bool:
        """Whether `step` would do anything."""
        return bool(self._launched) or self._scheduler.has_work()

    @property
    def step_age_s(self) -> float:
        """Seconds since a device step completed."""
        return self._clock() - self._last_step_s

    @property
    def is_stalled(self) -> bool:
        """Whether the last step could neither launch nor settle anything: those who wait need
        something that is not there yet, such as a step that is still being compiled."""
        return self._is_stalled

    @property
    def num_live_sequences(self) -> int:
        """Sequences admitted and not ended."""
        return len(self._live)

    @property
    def stats(self) -> EngineStats:
        """The scheduler's and the runner's counters with those of the loop."""
        return msgspec.structs.replace(
            self._scheduler.stats(),
            total_generated_tokens=self._total_generated_tokens,
            total_steps=self._total_steps,
            total_step_tokens=self._total_step_tokens,
            total_steps_by_tokens=tuple(self._steps_by_tokens),
            last_step_tokens=self._last_step_tokens,
            last_step_time_s=self._last_step_time_s,
            total_compilations_after_ready=self._runner.num_compilations_after_ready,
            num_compiled_steps=self._runner.num_compiled_steps,
            num_planned_steps=self._runner.num_planned_steps,
        )

    # ---- the loop

    def step(self) -> list[TokenDelta]:
        """Plan and launch a step, settle the one before it, return what was gained.

        Raises:
            EngineDiedError: the device is beyond recovery.
        """
        try:
            self._advance()
        except Exception as error:
            self._contain(error)
        return self._take_outbox()

    def _advance(self) -> None:
        self._take_guides()
        plan = self._schedule()
        self._is_stalled = plan is None and not self._launched
        if plan is not None:
            self._launch(plan)
            if plan.needs_settled:
                self._settle_all_but(1)
                self._guide(self._launched[-1])
        is_pipelined = plan is not None and not self._quarantine.is_active
        self._settle_all_but(1 if is_pipelined else 0)

    def _schedule(self) -> StepPlan | None:
        self._enter(Stage.SCHEDULE)
        on_trial = self._quarantine.on_trial
        plan = self._scheduler.schedule(self._runner.limits(), on_trial)
        if plan is None and on_trial:
            # Pages are held by sequences that were cleared: they must yield to those on trial.
            self._scheduler.recompute_all()
            plan = self._scheduler.schedule(self._runner.limits(), on_trial)
        if plan is None:
            self._quarantine.clear(on_trial)
        return plan

    def _launch(self, plan: StepPlan) -> None:
        self._launching = plan
        self._enter(Stage.LAUNCH)
        started_s = self._clock()
        self._launched.append(_Launched(plan, self._runner.launch(plan), started_s))
        self._launching = None

    def _take_guides(self) -> None:
        """Sequences whose grammar is compiled may start; those whose grammar is none end."""
        for sequence, made in [] if self._guides is None else self._guides.take_ready():
            if sequence.status is SequenceStatus.FINISHED:
                continue
            if isinstance(made, ErrorInfo):
                self._outbox.append(self._scheduler.fail(sequence, made))
            else:
                sequence.guide = made

    def _guide(self, step: _Launched) -> None:
        self._enter(Stage.GUIDE)
        allowed, deltas = self._scheduler.guide(step.plan)
        self._outbox.extend(deltas)
        step.handle.sample(allowed)

    def _settle_all_but(self, num_left: int) -> None:
        while len(self._launched) > num_left:
            self._settle(self._launched[0])
            self._launched.popleft()

    def _settle(self, step: _Launched) -> None:
        self._enter(Stage.RESULTS)
        results = step.handle.results()
        self._note_step(step)
        self._enter(Stage.SETTLE)
        self._outbox.extend(self._scheduler.settle(step.plan, results))
        if self._quarantine.is_active:
            self._quarantine.clear(row.sequence for row in step.plan.rows if row.is_sampling)

    # ---- faults

    def _enter(self, stage: Stage) -> None:
        self._stage = stage
        if self._faults is not None:
            self._faults(stage, [one.request.request_id for one in self._suspects()])

    def _suspects(self) -> list[Sequence]:
        """Live sequences that the present stage touches, or that are still on the device."""
        if self._stage is Stage.SCHEDULE:
            return list(self._quarantine.on_trial or self._live.values())
        plans = [step.plan for step in self._launched]
        if self._launching is not None:
            plans.append(self._launching)
        live = set(self._live.values())
        touched = dict.fromkeys(row.sequence for plan in plans for row in plan.rows)
        return [sequence for sequence in touched if sequence in live]

    def _contain(self, error: Exception) -> None:
        """End the culprit if it is certain who that is; otherwise try the suspects again."""
        _logger.warning("A step failed; its sequences are recomputed", exc_info=error)
        suspects = self._suspects()
        self._launched.clear()
        self._launching = None
        self._recover_device()
        self._scheduler.recompute_all()
        culprit = self._quarantine.accuse(suspects)
        if culprit is not None:
            message = f"{type(error).__name__} while computing this sequence"
            failure = ErrorInfo("SequenceError", message)
            self._outbox.append(self._scheduler.fail(culprit, failure))
            self._run_empty_step()

    def _recover_device(self) -> None:
        try:
            self._runner.recover()
        except Exception as error:
            raise EngineDiedError("the device cannot be used any more") from error

    def _run_empty_step(self) -> None:
        """Show that the device still works, whatever a sequence did to its own step."""
        started_s = self._clock()
        try:
            self._runner.launch(self._scheduler.empty_plan()).results()
        except Exception as error:
            raise EngineDiedError("the device cannot run a step any more") from error
        self._last_step_s = self._clock()
        self._last_step_time_s = self._last_step_s - started_s

    # ---- accounts

    def _take_outbox(self) -> list[TokenDelta]:
        deltas, self._outbox = self._outbox, []
        for delta in deltas:
            self._total_generated_tokens += len(delta.token_ids)
            if delta.finish_reason is not None:
                ended = self._live.pop((delta.request_id, delta.sequence_index), None)
                self._quarantine.clear([] if ended is None else [ended])
        return deltas

    def _note_step(self, step: _Launched) -> None:
        # Pipelined steps queue behind one another: a step's time starts when the last one ended.
        now_s = self._clock()
        self._last_step_time_s = now_s - max(step.launched_s, self._last_step_s)
        self._last_step_s = now_s
        self._last_step_tokens = step.plan.num_tokens
        self._total_steps += 1
        self._total_step_tokens += step.plan.num_tokens
        self._steps_by_tokens[bisect.bisect_left(STEP_TOKENS_BOUNDS, step.plan.num_tokens)] += 1
