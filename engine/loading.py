"""From the operator's choices to an engine that can step."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from engine.config import EngineConfig
from engine.controller import Facilities
from engine.core import EngineCore
from engine.grammar.library import GuideLibrary
from engine.grammar.vocabulary import Vocabulary, make_vocabulary
from engine.request import ModelInfo
from engine.scheduler.scheduler import Scheduler
from engine.text.tokenizer import Tokenizer
from engine.weights.source import find_tokenizer_folder

Report = Callable[[str, int, int], None]
"""Told (phase, done, total) as the start goes on; from several threads."""


@dataclasses.dataclass(frozen=True)
class Loaded:
    """An engine that has run its smallest step.

    Attributes:
        warm_up: compiles the remaining steps, smallest first; for a thread of its own.
        close: lets `warm_up` end after the compilation it is in.
        facilities: what operators' commands work on besides the core.
    """

    core: EngineCore
    info: ModelInfo
    warm_up: Callable[[], None]
    close: Callable[[], None]
    facilities: Facilities = dataclasses.field(default_factory=Facilities)


def load_engine(config: EngineConfig, report: Report = lambda phase, done, total: None) -> Loaded:
    """Load the model and compile its smallest step. Imports jax.

    Raises:
        SetupError: the operator must change something; the sentence says what.
    """
    from engine.runner.model_files import read_model_files

    # A model that is not there is reported before jax has taken its second to be imported.
    read_model_files(config)

    from engine.runner.build import make_runner
    from engine.runner.profiler import make_profiler

    runner, scheduler_config, info, memory = make_runner(config, report)
    scheduler = Scheduler(scheduler_config, info.eos_token_ids)
    core = EngineCore(scheduler, runner, guides=GuideLibrary(lambda: _vocabulary(config, info)))

    def warm_up() -> None:
        runner.warm_up(lambda done, total: report("compiling steps", done, total))

    facilities = Facilities(memory, make_profiler(config.profiler_config))
    return Loaded(core, info, warm_up, runner.close, facilities)


def _vocabulary(config: EngineConfig, info: ModelInfo) -> Vocabulary:
    """Read when the first guided request comes."""
    tokenizer = Tokenizer.from_folder(find_tokenizer_folder(config))
    return make_vocabulary(tokenizer, info.vocab_size, info.eos_token_ids)
