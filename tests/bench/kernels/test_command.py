"""`bench kernels` as a command, with the smallest shapes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.kernels import command

FORBIDDEN = ("quart", "hypercorn", "zmq", "orjson", "pydantic", "llguidance", "structlog", "uvloop")
"""Not on the machines with cards, and not needed there."""


def test_the_command_writes_what_it_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "kernels.json"
    chosen = "decode 2x100 tiny page 16 [chosen]"
    status = command.main(["--quick", "--only", chosen, "--output", str(file)])
    assert status == 0
    document = json.loads(file.read_text())
    ceilings, record = document["result"]
    assert record["share_of_copy"] == pytest.approx(
        record["bytes_per_s"] / ceilings["copy_bytes_per_s"], abs=1e-3
    )
    assert (record["name"], record["status"]) == (chosen, "measured")
    assert document["devices"][command.OURS]["platform"] == "cpu"
    assert document["complete"] is True
    assert chosen in capsys.readouterr().out


@pytest.mark.parametrize("flags", [[], ["--check"], ["--tune"], ["--quick", "--check"]])
def test_cases_have_names_of_their_own_and_ceilings_come_first(flags: list[str]) -> None:
    cases = command.planned(command.parser().parse_args(flags))
    assert len({case.name for case in cases}) == len(cases)
    assert "--check" in flags or cases[0].name == "ceilings"


@pytest.mark.parametrize("module", [command.OURS, "bench.step.worker", "bench.step.command"])
def test_a_child_needs_nothing_of_the_server(module: str) -> None:
    code = f"import sys, {module}; print([m for m in {FORBIDDEN!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_options_that_would_measure_nothing_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="nothing like it"):
        command.main(["--quick", "--only", "nothing like it"])
    for number in ("-3", "0", "nan", "soon"):
        with pytest.raises(SystemExit):
            command.main(["--quick", "--budget-s", number])
        assert "above 0" in capsys.readouterr().err
