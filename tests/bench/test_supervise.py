"""Cases in child processes: what hangs, dies or comes too late costs itself alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import supervise
from bench.supervise import Case, run_cases

CHILD = """
import os, time
from bench.child import NotComparable

def describe():
    return {"device_kind": "made up"}

def run_case(case):
    if case["does"] == "hang":
        time.sleep(600)
    if case["does"] == "die":
        os._exit(7)
    if case["does"] == "raise":
        raise ValueError("no such shape")
    if case["does"] == "refuse":
        raise NotComparable("has no meaning here")
    return {"median_us": 1.0}
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "made_up_child.py").write_text(CHILD)
    path = f"{tmp_path}:{supervise.ROOT}"
    monkeypatch.setenv("PYTHONPATH", path)
    return "made_up_child"


def statuses(module: str, *does: str, budget_s: float = 60, timeout_s: float = 30) -> list[str]:
    cases = [Case(f"{i} {what}", module, {"does": what}, timeout_s) for i, what in enumerate(does)]
    records, _ = run_cases(cases, budget_s, lambda records: None)
    return [record["status"] for record in records]


def test_a_case_that_raises_or_kills_its_process_costs_itself_alone(module: str) -> None:
    found = statuses(module, "work", "raise", "work", "die", "work", "refuse")
    assert found == ["measured", "failed", "measured", "failed", "measured", "skipped"]


def test_a_case_that_hangs_is_killed_and_the_next_one_runs(module: str) -> None:
    assert statuses(module, "work", "hang", "work", timeout_s=2) == [
        "measured",
        "hangs",
        "measured",
    ]


def test_what_the_budget_leaves_no_time_for_is_listed(module: str) -> None:
    assert statuses(module, "work", "hang", "work", budget_s=4) == [
        "measured",
        "no time",
        "no time",
    ]


def test_every_record_is_handed_over_as_soon_as_it_is_there(module: str) -> None:
    seen: list[int] = []
    cases = [Case(str(i), module, {"does": "work"}) for i in range(2)]
    _, devices = run_cases(cases, 60, lambda records: seen.append(len(records)))
    assert seen == [1, 2]
    assert devices == {"made_up_child": {"device_kind": "made up"}}


def test_a_child_that_cannot_start_is_not_started_again_for_every_case(
    module: str, tmp_path: Path
) -> None:
    starts = tmp_path / "starts"
    (tmp_path / "made_up_child.py").write_text(
        f"open({str(starts)!r}, 'a').write('x')\nimport no_such_module\n"
    )
    assert statuses(module, "work", "work", "work") == ["failed", "failed", "failed"]
    assert starts.read_text() == "x"
