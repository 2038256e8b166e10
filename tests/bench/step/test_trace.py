"""What is said of a traced step."""

from __future__ import annotations

from types import SimpleNamespace as Made
from typing import Any

from bench.step import command
from bench.step.trace import summarise


def event(name: str, start_ns: float, duration_ns: float) -> Any:
    return Made(name=name, start_ns=start_ns, duration_ns=duration_ns)


def test_kernels_are_summed_by_name_a_step_costliest_first() -> None:
    stream = Made(
        name="Stream #1",
        events=[event("norm", 0, 2000), event("gemm", 3000, 9000), event("norm", 13000, 4000)],
    )
    planes = [
        Made(name="/device:GPU:0", lines=[stream, Made(name="XLA Ops", events=stream.events)]),
        Made(name="/host:CPU", lines=[Made(name="Stream #1", events=stream.events)]),
    ]
    found = summarise(planes, 2)
    assert (found["span_us"], found["busy_us"], found["num_kernels"]) == (8.5, 7.5, 1.5)
    assert [(each["name"], each["us"], each["calls"]) for each in found["kernels"]] == [
        ("gemm", 4.5, 0.5),
        ("norm", 3.0, 1.0),
    ]
    assert "gemm" in command.trace_lines({"trace": found})[1]


def test_a_device_without_streams_is_said_to_leave_no_trace() -> None:
    assert summarise([], 2) == {}
    assert command.trace_lines({"trace": {}}) == ["    this device leaves no trace of its kernels"]
    assert command.trace_lines({}) == []
