"""Counters that outlive the engine that counted."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec

from engine.request import EngineStats

COUNTERS = tuple(name for name in EngineStats.__struct_fields__ if name.startswith("total_"))


def add_counters(earlier: EngineStats, newest: EngineStats) -> EngineStats:
    """Counters (`total_*`) of both together; gauges are those of `newest`."""
    sums = {name: _sum(getattr(earlier, name), getattr(newest, name)) for name in COUNTERS}
    return msgspec.structs.replace(newest, **sums)


def _sum(one: Any, other: Any) -> Any:
    """Of two numbers, or of two tuples place by place."""
    if isinstance(one, tuple):
        pairs = itertools.zip_longest(one, other, fillvalue=0)
        return tuple(a + b for a, b in pairs)  # pyright: ignore[reportUnknownVariableType]
    return one + other


class StatsLedger:
    """What all engines of one client have counted.

    Attributes:
        newest: the last the present engine has sent; without an engine its gauges are 0.
    """

    def __init__(self) -> None:
        self.newest = EngineStats()
        self._engine_id = ""
        self._earlier = EngineStats()

    @property
    def total(self) -> EngineStats:
        """Counters of all engines there have been, gauges of the present one."""
        return add_counters(self._earlier, self.newest)

    def begin(self, engine_id: str) -> None:
        """An engine is there. One that was there before goes on counting where it was."""
        if engine_id != self._engine_id:
            self._engine_id = engine_id
            self._earlier = self.total
            self.newest = EngineStats()

    def note(self, stats: EngineStats) -> None:
        """The engine sent its counters and gauges."""
        self.newest = stats

    def end(self) -> None:
        """There is no engine now: nothing runs, nothing waits."""
        self.newest = add_counters(self.newest, EngineStats())
