"""Turning samples into figures, and figures into a JSON file."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from bench.environment import describe_environment

PERCENTILES = (50, 90, 99)


def summarize(samples: Sequence[float]) -> dict[str, float]:
    """Mean, min, max and p50/p90/p99 of samples, in their own unit; empty gives an empty dict."""
    if not samples:
        return {}
    values = np.asarray(samples, dtype=np.float64)
    figures = {"mean": values.mean(), "min": values.min(), "max": values.max()}
    figures |= {f"p{p}": np.percentile(values, p) for p in PERCENTILES}
    return {name: round(float(value), 4) for name, value in figures.items()}


def write_result(path: str, benchmark: str, figures: dict[str, Any]) -> pathlib.Path:
    """Write figures with the conditions they were measured under; returns the file."""
    file = pathlib.Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    document = {"benchmark": benchmark, "environment": describe_environment(), **figures}
    file.write_text(json.dumps(document, indent=1) + "\n")
    return file


def show_result(benchmark: str, figures: dict[str, Any], output: str) -> int:
    """Print what was measured, and write it to `output` unless that is empty; the exit status."""
    print(json.dumps(figures["result"], indent=1))
    if output:
        print(f"written to {write_result(output, benchmark, figures)}")
    return 0
