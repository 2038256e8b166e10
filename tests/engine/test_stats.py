from __future__ import annotations

from engine.request import EngineStats
from engine.stats import StatsLedger, add_counters


def test_counters_are_summed_over_engines_and_gauges_are_the_newest() -> None:
    ledger = StatsLedger()
    ledger.begin("first")
    ledger.note(EngineStats(num_running=3, num_pages=8, total_steps=10, total_prompt_tokens=5))
    ledger.begin("second")
    ledger.note(EngineStats(num_running=1, num_pages=9, total_steps=2))
    assert ledger.total == EngineStats(
        num_running=1, num_pages=9, total_steps=12, total_prompt_tokens=5
    )
    assert ledger.newest.total_steps == 2


def test_without_an_engine_counters_stay_and_gauges_are_zero() -> None:
    ledger = StatsLedger()
    ledger.begin("first")
    ledger.note(EngineStats(num_running=3, total_steps=10))
    ledger.end()
    assert ledger.total == EngineStats(total_steps=10)


def test_an_engine_met_again_is_not_counted_twice() -> None:
    ledger = StatsLedger()
    ledger.begin("first")
    ledger.note(EngineStats(total_steps=10))
    ledger.end()
    ledger.begin("first")
    ledger.note(EngineStats(total_steps=11))
    assert ledger.total.total_steps == 11


def test_steps_by_tokens_are_summed_place_by_place():
    one = EngineStats(total_steps_by_tokens=(1, 2, 3))
    assert add_counters(one, EngineStats()).total_steps_by_tokens == (1, 2, 3)
    assert add_counters(EngineStats(), one).total_steps_by_tokens == (1, 2, 3)
    assert add_counters(one, one).total_steps_by_tokens == (2, 4, 6)
