"""What `bench kernels` and `bench step` do once everything is measured: write, plot, refuse.

A result is a number that was measured. Under `bench/results` nothing else is written: no file
without one, and no figures of shapes that only prove that a command works.
"""

from __future__ import annotations

import argparse
import math
import pathlib
import subprocess
from collections.abc import Sequence
from typing import Any

from bench.environment import ROOT, describe_environment
from bench.results import write_result
from bench.supervise import Record

RESULTS = ROOT / "bench" / "results"
GPU_QUERY = "name,driver_version,clocks.sm,clocks.mem,temperature.gpu,power.draw,utilization.gpu"
UNITS = "seconds; bytes/s; FLOP/s; *_us in microseconds; shares are of this run's ceilings"


class NotAResult(SystemExit):
    """Nothing here may stand under `bench/results`; the message says why."""


def add_common_options(made: argparse.ArgumentParser) -> None:
    """What both commands understand."""
    made.add_argument("--budget-s", type=positive, default=540.0, help="seconds for all cases")
    made.add_argument("--quick", action="store_true", help="tiny shapes: shows that it works")
    made.add_argument("--only", default="", help="cases whose name contains this")
    made.add_argument("--output", default="", help="JSON result file; a plot lands beside it")
    made.add_argument("--commit", default="", help="of the code, where it is no git checkout")


def positive(text: str) -> float:
    """A number above 0.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")
    return number


def verify_output(options: argparse.Namespace) -> None:
    """Refuse before anything is measured.

    Raises:
        NotAResult: `--quick` figures are asked for where results are.
    """
    if options.quick and _is_among_results(options.output):
        raise NotAResult("--quick figures are no result: write them outside bench/results")


def write(
    options: argparse.Namespace, benchmark: str, records: Sequence[Record], facts: dict[str, Any]
) -> pathlib.Path | None:
    """Write the JSON; None without `--output`.

    Raises:
        NotAResult: nothing was measured, and the file would stand among results.
    """
    if not options.output:
        return None
    has_number = any(record["status"] == "measured" for record in records)
    if not has_number and _is_among_results(options.output):
        raise NotAResult("nothing was measured: bench/results gets no file")
    # Where the file lay on the machine that measured is nobody's concern.
    arguments = vars(options) | {"output": pathlib.Path(options.output).name}
    figures = {"arguments": arguments, "units": UNITS, **facts, "result": list(records)}
    if options.commit:
        figures["environment"] = describe_environment() | {"commit": options.commit}
    return write_result(options.output, benchmark, figures)


def plot(file: pathlib.Path) -> str:
    """Draw a written result beside it; a sentence that says where, or why not."""
    try:
        from bench.plot import draw
    except ImportError:
        return f"no plot: matplotlib is not installed (later: python -m bench plot {file})"
    return f"plot: {draw(file)}"


def card_state() -> str:
    """What `nvidia-smi` reads of clocks, heat and load; "" where there is none."""
    command = ["nvidia-smi", f"--query-gpu={GPU_QUERY}", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()


def exit_status(records: Sequence[Record]) -> int:
    """1 if anything failed or hung."""
    return int(any(record["status"] in ("failed", "hangs") for record in records))


def _is_among_results(output: str) -> bool:
    return bool(output) and pathlib.Path(output).resolve().is_relative_to(RESULTS)
