"""What the core needs of a runner, and where tests can make it fail."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from engine.scheduler.plan import RowResult, StepLimits, StepPlan


class Stage(enum.Enum):
    """Parts of the loop at which a fault can be injected, named as the loop names them."""

    ADMIT = "admit"
    SCHEDULE = "schedule"
    LAUNCH = "launch"
    GUIDE = "guide"
    RESULTS = "results"
    SETTLE = "settle"


class FaultHook(Protocol):
    """Called before each stage; tests raise from it what the stage itself could raise."""

    def __call__(self, stage: Stage, request_ids: Sequence[str]) -> None:
        """`request_ids` are those the stage is about to touch."""
        ...


class StepHandle(Protocol):
    """A launched step."""

    def sample(self, allowed: Mapping[int, npt.NDArray[np.uint32]]) -> None:
        """Choose the tokens of a plan that `needs_settled`, before `results`: bits of the ids that
        a row may choose, by index of the row; other rows may choose any."""
        ...

    def results(self) -> list[RowResult]:
        """Block until the step is done; one result per row of its plan, in order."""
        ...


class DeviceMemory(Protocol):
    """What of the device can be freed while nothing is launched. Calls block; one at a time."""

    def release_pages(self) -> None:
        """Drop KV pages and slot state; their contents are forgotten."""
        ...

    def restore_pages(self) -> None:
        """Fresh pages and slot state. Raises when the device has no room."""
        ...

    def release_weights(self, *, keeps_copy: bool) -> None:
        """Drop the weights, keeping a copy in host memory or not; drops the copy of an earlier
        call when it must not be kept."""
        ...

    def restore_weights(self) -> None:
        """The same weights again, from the copy or the checkpoint.

        Raises:
            SetupError: the checkpoint cannot be read or is another one.
        """
        ...


class Profiler(Protocol):
    """Traces what the engine's process and its device do. Calls block."""

    def start(self) -> None:
        """Begin a trace. Raises ConflictError when one is under way or none is possible."""
        ...

    def stop(self) -> None:
        """End the trace and write it. Raises ConflictError when there is none."""
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
