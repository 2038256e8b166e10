"""`bench step` with the smallest model and shapes."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from bench.child import NotComparable
from bench.step import command
from bench.step.loads import StepLoad
from bench.step.worker import run_case

LOADS = (StepLoad(8, 20), StepLoad(1, 0, 12), StepLoad(8, 20, is_sampled=True))


def case(index: int) -> dict[str, Any]:
    loads = [dataclasses.asdict(load) for load in LOADS]
    figures = {"model": "tiny", "loads": loads, "index": index, "quick": True, "trace": index == 0}
    return {"measure": "step", **figures}


@pytest.mark.parametrize(
    ("index", "bucket"),
    [
        (0, "8 tokens, 8 rows, GREEDY"),
        (1, "16 tokens, 8 rows, FULL"),
        (2, "8 tokens, 8 rows, FULL"),
    ],
)
def test_a_load_takes_the_bucket_the_engine_would(index: int, bucket: str) -> None:
    figures = run_case(case(index))
    assert figures["bucket"] == bucket
    assert figures["median_us"] > 0
    assert figures["tokens_per_s"] > 0


def test_the_command_writes_steps_and_their_share_of_the_roofline(tmp_path: Path) -> None:
    file = tmp_path / "step.json"
    name = "tiny decode batch 2 context 40 [servax]"
    assert command.main(["--quick", "--only", name, "--output", str(file)]) == 0
    _, step = json.loads(file.read_text())["result"]
    assert step["name"] == name
    assert step["roofline_us"] > 0
    assert step["share_of_roofline"] == pytest.approx(
        step["roofline_us"] / step["median_us"], rel=1e-2
    )


def test_transformers_runs_the_same_loads() -> None:
    pytest.importorskip("torch")
    from bench.step import torch_worker

    def clock(work: Any) -> float:
        work()
        return 0.02

    for load in LOADS[:2]:
        figures = torch_worker.measure("tiny", load, "cpu", clock)
        assert figures["tokens"] == load.num_rows * load.num_new
    with pytest.raises(NotComparable):
        torch_worker.measure("tiny", LOADS[2], "cpu", clock)
