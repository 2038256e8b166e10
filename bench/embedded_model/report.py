"""Write the scores as JSON with where and with what they were measured."""

from __future__ import annotations

import datetime
import json
import os
import platform
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[1] / "results" / "embedded_model.json"


@dataclass(frozen=True)
class Score:
    """One skill's result: right answers, probes, and how many ended by themselves."""

    skill: str
    right: int
    probes: int
    finished: int


def measured_with() -> dict[str, Any]:
    """Date, versions and machine."""
    packages = ("torch", "transformers", "tokenizers", "safetensors")
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "commit": "uncommitted",
        "command": "python -m bench.embedded_model.score",
        "versions": {"python": platform.python_version()} | {package: version(package) for package in packages},
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, CPU only",
    }


def write_results(scores: list[Score]) -> None:
    """Write `bench/results/embedded_model.json`, keeping what it says of the training."""
    RESULTS.parent.mkdir(exist_ok=True)
    known = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    known |= measured_with() | {"decoding": "greedy", "skills": [asdict(score) for score in scores]}
    RESULTS.write_text(json.dumps(known, indent=2) + "\n")
