"""Where the time of a step goes on a device: its kernels by name, from `jax.profiler`'s trace."""

from __future__ import annotations

import collections
import pathlib
import tempfile
from collections.abc import Callable, Iterable
from typing import Any

import jax

MOST_KERNELS = 24


def trace_steps(run: Callable[[], None], num_steps: int) -> dict[str, Any]:
    """Trace `run`, which runs `num_steps` steps to their end; see `summarise`."""
    with tempfile.TemporaryDirectory(prefix="servax-trace-") as folder:
        with jax.profiler.trace(folder):
            run()
        [file] = pathlib.Path(folder).glob("**/*.xplane.pb")
        return summarise(jax.profiler.ProfileData.from_file(str(file)).planes, num_steps)


def summarise(planes: Iterable[Any], num_steps: int) -> dict[str, Any]:
    """Figures of the device's streams, in microseconds a step.

    Returns:
        `span_us` from the first kernel's start to the last one's end, `busy_us` of kernels (those
        of several streams may overlap), `num_kernels`, and `kernels`: the costliest by name, with
        how often a step runs each. Empty where the device leaves no such trace, as a CPU does.
    """
    events = [
        event
        for plane in planes
        if plane.name.startswith("/device:")
        for line in plane.lines
        if line.name.startswith("Stream")
        for event in line.events
    ]
    if not events:
        return {}
    costs: dict[str, list[float]] = collections.defaultdict(list)
    for event in events:
        costs[event.name].append(event.duration_ns / 1e3)
    begin_ns = min(event.start_ns for event in events)
    end_ns = max(event.start_ns + event.duration_ns for event in events)
    costliest = sorted(costs.items(), key=lambda item: -sum(item[1]))[:MOST_KERNELS]
    return {
        "span_us": round((end_ns - begin_ns) / 1e3 / num_steps, 1),
        "busy_us": round(sum(map(sum, costs.values())) / num_steps, 1),
        "num_kernels": round(len(events) / num_steps, 1),
        "kernels": [
            {
                "name": name[:120],
                "us": round(sum(each) / num_steps, 2),
                "calls": round(len(each) / num_steps, 2),
            }
            for name, each in costliest
        ],
    }
