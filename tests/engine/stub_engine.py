"""The real engine process around the device of `conftest.py`: what client tests spawn."""

from __future__ import annotations

import os
import pathlib
import runpy
import sys
import time

from engine.config import EngineConfig
from engine.controller import Facilities
from engine.core import EngineCore
from engine.errors import ModelFormatError
from engine.loading import Loaded, Report
from engine.process import main
from engine.scheduler.scheduler import Scheduler

WORLD = runpy.run_path(str(pathlib.Path(__file__).with_name("conftest.py")))


class SlowRunner(WORLD["FakeRunner"]):
    """Takes a little time for a step; dies of a prompt that begins with token 66."""

    def launch(self, plan):
        time.sleep(0.01)
        if any(row.sequence.token_ids[0] == 66 for row in plan.rows):
            os._exit(9)
        return super().launch(plan)


class Memory:
    """Nothing to free."""

    def release_pages(self):
        pass

    def restore_pages(self):
        pass

    def release_weights(self, *, keeps_copy):
        pass

    def restore_weights(self):
        pass


def load(config: EngineConfig, report: Report) -> Loaded:
    if config.model == "broken":
        raise ModelFormatError("config.json of broken is no JSON")
    if config.model == "slow":
        time.sleep(60)
    core = EngineCore(Scheduler(WORLD["CONFIG"], [WORLD["EOS"]]), SlowRunner())
    return Loaded(
        core,
        WORLD["INFO"],
        lambda: report("compiling steps", 1, 1),
        lambda: None,
        Facilities(Memory()),
    )


if __name__ == "__main__":
    sys.exit(main(load))
