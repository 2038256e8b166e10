"""Keep what was measured: `bench/results/embedded_model.json`, and the model card from it."""

from __future__ import annotations

import datetime
import json
import os
import platform
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.embedded_model.card import card
from models.embedded import embedded_model_dir


@dataclass(frozen=True)
class Score:
    """One skill's result: right answers, probes, and how many ended by themselves."""

    skill: str
    right: int
    probes: int
    finished: int


@dataclass(frozen=True)
class Training:
    """How the shipped weights were trained."""

    milestones: dict[str, int]
    seconds: int
    seed: int
    processes: int
    num_parameters: int


def _versions() -> dict[str, str]:
    packages = ("torch", "transformers", "tokenizers", "safetensors")
    return {"python": platform.python_version()} | {
        package: version(package) for package in packages
    }


def _results_of(folder: Path) -> Path:
    """Where a model's results go: the shipped one's into the repository, others beside them."""
    if folder == embedded_model_dir():
        return Path(__file__).parents[1] / "results" / "embedded_model.json"
    return folder / "results.json"


def _write(results: dict[str, Any], folder: Path) -> None:
    file = _results_of(folder)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(results, indent=2) + "\n")
    if {"training", "skills"} <= results.keys():
        (folder / "README.md").write_text(card(results))


def write_training(training: Training, folder: Path) -> None:
    """Record how the weights in the folder were made; older scores no longer hold."""
    _write({"training": asdict(training)}, folder)


def write_scores(scores: list[Score], folder: Path) -> None:
    """Record the scores with their date, versions and machine, and write the model card."""
    file = _results_of(folder)
    known: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    measured: dict[str, Any] = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "commit": "uncommitted",
        "command": "python -m bench.embedded_model.score",
        "decoding": "greedy",
        "versions": _versions(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, CPU only",
        "skills": [asdict(score) for score in scores],
    }
    _write(known | measured, folder)
