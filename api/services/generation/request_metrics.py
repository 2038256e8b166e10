"""vLLM's `metrics` of an answer: what one sequence waited for, from the engine's own times."""

from __future__ import annotations

from typing import Any

from engine.request import Timings


def request_metrics(timings: Timings | None, num_tokens: int) -> dict[str, Any]:
    """The member `metrics`; null where there was nothing to measure.

    As in vLLM the first token is timed from when the sequence left the queue, and tokens per
    second are over the time since then.
    """
    times = timings or Timings(0.0, 0.0, 0.0, 0.0)
    decode_ms = _ms_between(times.first_token_s, times.last_token_s)
    inference_ms = _ms_between(times.scheduled_s, times.last_token_s)
    num_gaps = num_tokens - 1
    return {
        "time_to_first_token_ms": _ms_between(times.scheduled_s, times.first_token_s),
        "generation_time_ms": decode_ms,
        "queue_time_ms": _ms_between(times.queued_s, times.scheduled_s),
        "mean_itl_ms": decode_ms / num_gaps if decode_ms is not None and num_gaps > 0 else None,
        "tokens_per_second": 1000 * num_tokens / inference_ms if inference_ms else None,
        "speculative_decoding": None,
    }


def _ms_between(start_s: float, end_s: float) -> float | None:
    return max(0.0, 1000 * (end_s - start_s)) if start_s and end_s else None
