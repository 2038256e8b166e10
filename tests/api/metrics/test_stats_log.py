from __future__ import annotations

from api.metrics.stats_log import describe
from engine.request import EngineStats


def test_a_line_tells_rates_and_gauges():
    before = EngineStats(total_prefix_queries=10)
    after = EngineStats(
        num_running=3,
        num_waiting=1,
        num_pages=10,
        num_free_pages=4,
        total_steps=7,
        total_prompt_tokens=100,
        total_generated_tokens=50,
        total_prefix_queries=30,
        total_prefix_hits=5,
    )
    assert describe(before, after, 10.0) == (
        "prompt 10.0 tokens/s, generation 5.0 tokens/s, running 3, waiting 1, KV cache 60.0%, "
        "prefix cache hits 25.0%"
    )


def test_a_quiet_engine_says_nothing():
    assert describe(EngineStats(total_steps=7), EngineStats(total_steps=7), 10.0) is None
