"""What may stand under bench/results: numbers that were measured, of shapes that mean something."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import pytest

from bench import report

MEASURED = {"name": "x", "status": "measured", "median_us": 1.0}
SKIPPED = {"name": "x", "status": "skipped", "reason": "no card"}


def options(output: Path | str, *, quick: bool = False) -> argparse.Namespace:
    made = argparse.ArgumentParser()
    report.add_common_options(made)
    return made.parse_args(["--output", str(output), *(["--quick"] if quick else [])])


def test_a_run_without_a_number_gets_no_file_among_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    with pytest.raises(report.NotAResult, match="nothing was measured"):
        report.write(options(tmp_path / "h100.json"), "kernels", [SKIPPED], {})
    assert not (tmp_path / "h100.json").exists()


def test_quick_figures_are_refused_among_results_before_anything_runs() -> None:
    with pytest.raises(report.NotAResult, match="no result"):
        report.verify_output(options(report.RESULTS / "kernels.json", quick=True))
    report.verify_output(options("/tmp/elsewhere.json", quick=True))


def test_a_result_names_commit_versions_load_and_units(tmp_path: Path) -> None:
    given = options(tmp_path / "r.json")
    given.commit = "abc"
    file = report.write(given, "kernels", [MEASURED], {})
    assert file is not None
    document = json.loads(file.read_text())
    assert document["environment"]["commit"] == "abc"
    assert {"versions", "load_average", "cpu"} <= set(document["environment"])
    assert document["units"]
    assert document["result"] == [MEASURED]


def test_without_matplotlib_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.delitem(sys.modules, "bench.plot", raising=False)
    assert "matplotlib is not installed" in report.plot(tmp_path / "r.json")
