"""What people see while a model loads: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

LINE_INTERVAL_S = 5.0


class Progress:
    """Shows phases ("loading weights", "compiling steps") as n of m. Any thread may report."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self._bars = _make_bars(stream) if stream.isatty() else None
        self._tasks: dict[str, TaskID] = {}
        self._next_line_s: dict[str, float] = {}

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bars is not None:
            self._bars.stop()

    def report(self, phase: str, num_done: int, num_total: int) -> None:
        """`num_done` of `num_total` steps of this phase are done."""
        with self._lock:
            if self._bars is not None:
                self._move_bar(self._bars, phase, num_done, num_total)
            else:
                self._print_line(phase, num_done, num_total)

    def _move_bar(self, bars: Bars, phase: str, num_done: int, num_total: int) -> None:
        if phase not in self._tasks:
            self._tasks[phase] = bars.add_task(phase)
        bars.update(self._tasks[phase], completed=num_done, total=num_total)
        # A finished display is left standing, so that logs can be printed below it.
        if num_done >= num_total:
            bars.stop()
        else:
            bars.start()

    def _print_line(self, phase: str, num_done: int, num_total: int) -> None:
        """At most a line every few seconds, and one at the end of the phase."""
        now_s = time.monotonic()
        if num_done < num_total and now_s < self._next_line_s.get(phase, 0.0):
            return
        self._next_line_s[phase] = now_s + LINE_INTERVAL_S
        print(f"engine: {phase} {num_done}/{num_total}", file=self._stream, flush=True)


def _make_bars(stream: TextIO) -> Bars:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    return Bars(*columns, TimeElapsedColumn(), console=Console(file=stream))
