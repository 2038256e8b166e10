"""From outcomes to the figures people compare: latencies, throughput, goodput."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from bench.results import summarize
from bench.serve.client import Outcome


@dataclasses.dataclass(frozen=True, slots=True)
class Objective:
    """A service level: a request is good when each of these holds. Milliseconds; inf = any."""

    ttft_ms: float = float("inf")
    tpot_ms: float = float("inf")
    e2e_ms: float = float("inf")

    def is_met(self, outcome: Outcome) -> bool:
        """Whether one request kept the service level."""
        return (
            outcome.ttft_s * 1e3 <= self.ttft_ms
            and outcome.tpot_s * 1e3 <= self.tpot_ms
            and outcome.e2e_s * 1e3 <= self.e2e_ms
        )


def parse_objective(pairs: Sequence[str]) -> Objective:
    """Read `ttft:200 tpot:50 e2e:2000` (vLLM's `--goodput`; `e2el` is its name for e2e).

    Raises:
        ValueError: for an unknown name or a value that is no number.
    """
    names = {"ttft": "ttft_ms", "tpot": "tpot_ms", "e2e": "e2e_ms", "e2el": "e2e_ms"}
    limits: dict[str, float] = {}
    for pair in pairs:
        name, _, value = pair.partition(":")
        if name not in names:
            raise ValueError(f"--goodput knows {', '.join(names)}, not {name!r}")
        limits[names[name]] = float(value)
    return Objective(**limits)


def report(outcomes: Sequence[Outcome], duration_s: float, objective: Objective) -> dict[str, Any]:
    """All figures of one run; latencies in milliseconds, rates per second."""
    good = [outcome for outcome in outcomes if not outcome.error]
    errors = [outcome.error for outcome in outcomes if outcome.error]
    num_output = sum(outcome.output_tokens for outcome in good)
    return {
        "num_requests": len(outcomes),
        "num_failed": len(errors),
        "first_errors": errors[:3],
        "duration_s": round(duration_s, 4),
        "prompt_tokens": sum(outcome.prompt_tokens for outcome in good),
        "cached_tokens": sum(outcome.cached_tokens for outcome in good),
        "output_tokens": num_output,
        "requests_per_s": round(len(good) / duration_s, 4),
        "output_tokens_per_s": round(num_output / duration_s, 2),
        "goodput_requests_per_s": round(
            sum(objective.is_met(outcome) for outcome in good) / duration_s, 4
        ),
        "ttft_ms": summarize([outcome.ttft_s * 1e3 for outcome in good]),
        "tpot_ms": summarize([o.tpot_s * 1e3 for o in good if o.output_tokens > 1]),
        "inter_chunk_ms": summarize([gap * 1e3 for outcome in good for gap in outcome.gaps_s]),
        "e2e_ms": summarize([outcome.e2e_s * 1e3 for outcome in good]),
    }
