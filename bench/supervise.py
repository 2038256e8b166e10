"""Runs cases in child processes, most important first, until they or the time budget end.

A case that hangs or takes its process down costs that case alone: the next one gets a new child.
A child that cannot even start fails all its cases at once: a lent card is too dear to ask again.
The parent imports no jax, so the device's memory belongs to one child at a time.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pathlib
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from bench.child import PREFIX
from bench.environment import ROOT

START_TIMEOUT_S = 120.0
CUDA_FOLDER = pathlib.Path("/usr/local/cuda")
"""Where jax looks for ptxas only if no half-empty wheel of NVIDIA is found before it."""


@dataclasses.dataclass(frozen=True)
class Case:
    """One measurement.

    Attributes:
        name: unique in a run.
        module: of the child that measures it (see `bench.child`).
        arguments: what it is told, JSON-ready.
        timeout_s: after so long it counts as hanging.
    """

    name: str
    module: str
    arguments: dict[str, Any]
    timeout_s: float = 120.0


CEILINGS = "ceilings"
"""Name of the case that every other one is a share of."""

Record = dict[str, Any]
"""`name`, `status` (measured | failed | skipped | hangs | no time), `seconds`, `case`, figures."""


class Child:
    """A process that answers cases."""

    def __init__(self, module: str) -> None:
        self.module = module
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.child", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=child_environment(),
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.description = self._answer(START_TIMEOUT_S)

    def run(self, case: Case, timeout_s: float) -> Record:
        """The child's answer.

        Raises:
            ChildLost: it hangs or is dead; it is dead now.
        """
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(case.arguments) + "\n")
            self._process.stdin.flush()
        return self._answer(timeout_s)

    def close(self) -> None:
        """End the process and give its device back."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._bury()

    def _bury(self) -> int:
        """Wait for the end of the process and of its output; returns its exit status."""
        status = self._process.wait()
        self._reader.join()
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.stdout.close()
        return status

    def _answer(self, timeout_s: float) -> Record:
        deadline_s = time.monotonic() + timeout_s
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, deadline_s - time.monotonic()))
            except queue.Empty:
                self._process.kill()
                self._bury()
                raise ChildLost("hangs", f"no answer in {timeout_s:.0f} s") from None
            if line is None:
                raise ChildLost("failed", f"the process ended with {self._bury()}")
            if line.startswith(PREFIX):
                return json.loads(line[len(PREFIX) :])

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put(None)


class ChildLost(Exception):
    """A child that will not answer any more: a status for the record, and what is known."""

    def __init__(self, status: str, reason: str) -> None:
        super().__init__(reason)
        self.status = status


def wanted(cases: Iterable[Case], part: str) -> list[Case]:
    """Those whose name contains `part`, and the ceilings.

    Raises:
        SystemExit: no name does.
    """
    cases = list(cases)
    if not any(part in case.name for case in cases):
        raise SystemExit(f"no case's name contains {part!r}; the first is {cases[0].name!r}")
    return [case for case in cases if part in case.name or case.name == CEILINGS]


def run_cases(
    cases: Sequence[Case], budget_s: float, on_record: Callable[[list[Record]], None]
) -> tuple[list[Record], dict[str, Any]]:
    """Measure the cases in order; those the budget leaves no time for are listed as such.

    Args:
        on_record: given all records after each one, to be written down.

    Returns:
        A record a case, and what each module's child said of its device.
    """
    deadline_s = time.monotonic() + budget_s
    records: list[Record] = []
    devices: dict[str, Any] = {}
    unusable: dict[str, str] = {}
    child: Child | None = None
    for case in cases:
        start_s = time.monotonic()
        left_s = deadline_s - start_s
        if left_s < 1:
            records.append({"name": case.name, "status": "no time"})
            continue
        if case.module in unusable:
            reason = unusable[case.module]
            records.append({"name": case.name, "status": "failed", "reason": reason})
            continue
        try:
            if child is None or child.module != case.module:
                child = _replaced(child, case.module)
                devices[case.module] = child.description
            answer = child.run(case, min(case.timeout_s, left_s))
        except ChildLost as lost:
            child = None
            if case.module not in devices:
                unusable[case.module] = f"its process does not start: {lost}"
            is_cut_short = lost.status == "hangs" and left_s < case.timeout_s
            status = "no time" if is_cut_short else lost.status
            answer = {"status": status, "reason": str(lost)}
        seconds = round(time.monotonic() - start_s, 2)
        records.append({"name": case.name, "seconds": seconds, "case": case.arguments} | answer)
        on_record(records)
    if child is not None:
        child.close()
    return records, devices


def _replaced(child: Child | None, module: str) -> Child:
    if child is not None:
        child.close()
    return Child(module)


def child_environment() -> dict[str, str]:
    """The children's environment: quiet, memory as needed, and a CUDA that has its compiler."""
    wanted = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "TF_CPP_MIN_LOG_LEVEL": "2"}
    if (CUDA_FOLDER / "bin" / "ptxas").exists():
        wanted["CUDA_ROOT"] = str(CUDA_FOLDER)
    return wanted | os.environ
