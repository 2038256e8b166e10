"""A process that measures one case after another, so that a hanging kernel can be killed.

`python -m bench.child MODULE`: MODULE has `describe() -> dict` (device, versions: the first line
answered) and `run_case(case: dict) -> dict`. Cases are JSON lines on stdin, answers lines that
begin with `RESULT `.
"""

from __future__ import annotations

import importlib
import json
import sys
import traceback
from typing import Any

PREFIX = "RESULT "


def main() -> None:
    """Serve cases until stdin ends."""
    module: Any = importlib.import_module(sys.argv[1])
    answer(module.describe())
    for line in sys.stdin:
        answer(run(module, json.loads(line)))


def run(module: Any, case: dict[str, Any]) -> dict[str, Any]:
    """The module's answer, or what it raised."""
    try:
        return {"status": "measured", **module.run_case(case)}
    except NotComparable as error:
        return {"status": "skipped", "reason": str(error)}
    except Exception as error:
        traceback.print_exc()
        return {"status": "failed", "reason": f"{type(error).__name__}: {error}"[:600]}


class NotComparable(Exception):
    """This case has no meaning here; says why. Not a failure."""


def answer(value: dict[str, Any]) -> None:
    """One line the parent reads."""
    print(PREFIX + json.dumps(value), flush=True)


if __name__ == "__main__":
    # The modules import NotComparable from here: this file must not be there twice.
    from bench.child import main as serve

    serve()
