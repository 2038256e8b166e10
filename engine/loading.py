"""From the operator's choices to an engine that can step."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from engine.config import EngineConfig
from engine.core import EngineCore
from engine.request import ModelInfo
from engine.scheduler.scheduler import Scheduler

OnProgress = Callable[[str, int, int], None]
"""Called with a phase and how many of how many of its steps are done."""


@dataclasses.dataclass(frozen=True)
class Loaded:
    """An engine that has run its smallest step.

    Attributes:
        warm_up: compiles the remaining steps, smallest first; for a thread of its own.
    """

    core: EngineCore
    info: ModelInfo
    warm_up: Callable[[], None]


def load_engine(config: EngineConfig, on_progress: OnProgress) -> Loaded:
    """Load the model and compile its smallest step. Imports jax.

    Raises:
        SetupError: the operator must change something; the sentence says what.
    """
    from engine.runner import make_runner

    runner, scheduler_config, info = make_runner(config)
    scheduler = Scheduler(scheduler_config, info.eos_token_ids)

    def warm_up() -> None:
        runner.warm_up(lambda done, total: on_progress("compiling steps", done, total))

    return Loaded(EngineCore(scheduler, runner), info, warm_up)
