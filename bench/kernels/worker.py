"""The child that measures ours: see `bench.child`. Each case names a function of `MEASURES`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bench.ceilings import measure_ceilings
from bench.environment import describe_device
from bench.kernels.attention import measure_attention
from bench.kernels.checks import check_attention
from bench.kernels.loads import Load
from bench.kernels.sampler import measure_sampler, measure_searches
from bench.kernels.tune import measure_sizes

describe = describe_device


def run_case(case: dict[str, Any]) -> dict[str, Any]:
    """Measure one case: `measure` says how, the rest are its arguments."""
    arguments = {name: value for name, value in case.items() if name != "measure"}
    if "load" in arguments:
        arguments["load"] = Load.from_json(arguments["load"])
    return MEASURES[case["measure"]](**arguments)


MEASURES: dict[str, Callable[..., dict[str, Any]]] = {
    "ceilings": measure_ceilings,
    "attention": measure_attention,
    "check": check_attention,
    "searches": measure_searches,
    "sampler": measure_sampler,
    "sizes": measure_sizes,
}
