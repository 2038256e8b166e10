"""What the core needs of a scheduler and of a runner, whoever they are."""

from __future__ import annotations

import enum
from collections.abc import Collection, Sequence as Items
from typing import Protocol

from engine.request import EngineStats, GenerateRequest, TokenDelta
from engine.scheduler.plan import RowResult, StepLimits, StepPlan
from engine.sequence import Sequence


class Stage(enum.Enum):
    """Parts of the loop at which a fault can be injected, named as the loop names them."""

    ADMIT = "admit"
    SCHEDULE = "schedule"
    LAUNCH = "launch"
    RESULTS = "results"
    SETTLE = "settle"


class FaultHook(Protocol):
    """Called before each stage; tests raise from it what the stage itself could raise."""

    def __call__(self, stage: Stage, request_ids: Items[str]) -> None:
        """`request_ids` are those the stage is about to touch."""
        ...


class StepHandle(Protocol):
    """A launched step."""

    def results(self) -> list[RowResult]:
        """Block until the step is done; one result per row of its plan, in order."""
        ...


class StepRunner(Protocol):
    """The device, as the loop sees it."""

    @property
    def num_compiled_steps(self) -> int:
        """Step executables that are compiled."""
        ...

    @property
    def num_planned_steps(self) -> int:
        """Step executables there will be when warm-up ends."""
        ...

    @property
    def num_compilations_after_ready(self) -> int:
        """Compilations that a running step had to wait for; 0 in a sound engine."""
        ...

    def limits(self) -> StepLimits:
        """The largest step that is compiled at this moment."""
        ...

    def launch(self, plan: StepPlan) -> StepHandle:
        """Start a step and return at once. A plan without rows is a proof of life."""
        ...

    def recover(self) -> None:
        """Make KV pages and slot state usable again after a failed step (their contents are
        forgotten). Raises when the device is beyond that."""
        ...


class StepScheduler(Protocol):
    """Who runs next."""

    def add(self, request: GenerateRequest) -> list[Sequence]:
        """Queue a request. Raises OverloadedError or RequestError."""
        ...

    def abort(self, request_id: str, sequence_indices: Collection[int] = ()) -> None:
        """End these sequences (all when empty); their pages are free before the next plan."""
        ...

    def schedule(
        self, limits: StepLimits, only: Collection[Sequence] | None = None
    ) -> StepPlan | None:
        """Plan a step; of the sequences in `only` when given. None when nothing can run."""
        ...

    def settle(self, plan: StepPlan, results: list[RowResult]) -> list[TokenDelta]:
        """Take in what a launched step gave."""
        ...

    def recompute_all(self) -> None:
        """Forget launched steps and every cached page; running sequences wait again."""
        ...

    def fail(self, sequence: Sequence, error: Exception) -> list[TokenDelta]:
        """End a sequence with a typed error."""
        ...

    def must_settle_first(self) -> bool:
        """Whether a next choice depends on a result that is still on the device."""
        ...

    def has_work(self) -> bool:
        """Whether any sequence is unfinished."""
        ...

    def reset_prefix_cache(self) -> None:
        """Forget cached pages that no running sequence holds."""
        ...

    def stats(self) -> EngineStats:
        """Counters and gauges the scheduler knows; the rest are zero."""
        ...
