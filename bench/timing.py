"""Time of work that runs asynchronously on a device. Imports jax.

    warm-up ─► calls in flight ─► wait ─► calls in flight ─► wait ...     one sample a wait

Nothing waits between the calls of a sample: each is given the last one's result, so the device
runs them one after another while the host is already ahead.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import jax

SAMPLE_S = 0.15
"""Length of a sample: long against the microseconds that waiting for it costs."""
MAX_CALLS = 5000


def time_chain(
    step: Callable[[Any], Any], state: Any, *, sample_s: float = SAMPLE_S, repeats: int = 7
) -> tuple[list[float], Any]:
    """Seconds of one call of `step`, `repeats` samples, and the last state.

    Args:
        step: gives the next state, which holds arrays of the device; the last may be donated.
        sample_s: of so many seconds of calls the mean is one sample.
    """
    state = jax.block_until_ready(step(state))
    start_s = time.perf_counter()
    state = jax.block_until_ready(step(state))
    once_s = max(time.perf_counter() - start_s, 1e-7)
    num_calls = max(1, min(MAX_CALLS, round(sample_s / once_s)))
    samples: list[float] = []
    for _ in range(repeats):
        start_s = time.perf_counter()
        for _ in range(num_calls):
            state = step(state)
        jax.block_until_ready(state)
        samples.append((time.perf_counter() - start_s) / num_calls)
    return samples, state


def spread(samples: list[float]) -> dict[str, float]:
    """Median, least and greatest of samples, in microseconds."""
    return {
        "median_us": round(statistics.median(samples) * 1e6, 3),
        "min_us": round(min(samples) * 1e6, 3),
        "max_us": round(max(samples) * 1e6, 3),
        "samples": len(samples),
    }
