from __future__ import annotations

import io

from engine.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_pipe_gets_the_first_and_the_last_line():
    stream = io.StringIO()
    progress = Progress(stream)
    for done in range(1, 101):
        progress.report("loading weights", done, 100)
    assert stream.getvalue() == "engine: loading weights 1/100\nengine: loading weights 100/100\n"


def test_a_terminal_gets_a_bar():
    stream = Terminal()
    progress = Progress(stream)
    progress.report("compiling steps", 1, 2)
    progress.report("compiling steps", 2, 2)
    assert "compiling steps" in stream.getvalue()
    assert "2/2" in stream.getvalue()
