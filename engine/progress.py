"""What people see while a model loads: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

LINE_INTERVAL_S = 5.0


class Progress:
    """Shows phases ("loading weights", "compiling steps") as n of m. Any thread may report."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._bars = None
        self._tasks: dict[str, object] = {}
        self._last_line_s = 0.0
        if stream.isatty():
            console = Console(file=stream)
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
            self._bars = Bars(*columns, TimeElapsedColumn(), console=console)
