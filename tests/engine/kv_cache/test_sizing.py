"""The memory plan is exact, or says what to change."""

from __future__ import annotations

import pytest

from engine.errors import MemoryPlanError
from engine.kv_cache.sizing import MemoryDemand, plan_num_pages, verify_num_pages


def demand(**changes: int) -> MemoryDemand:
    values = {
        "usable_bytes": 1000,
        "weight_bytes": 300,
        "temporary_bytes": 100,
        "slot_state_bytes": 50,
        "page_bytes": 50,
    }
    return MemoryDemand(**(values | changes))


def test_pages_fill_what_the_rest_leaves() -> None:
    assert plan_num_pages(demand(), max_model_len=40, page_size=4) == 11
    assert plan_num_pages(demand(usable_bytes=999), max_model_len=36, page_size=4) == 10


def test_a_context_that_one_sequence_cannot_use_is_refused_with_the_one_that_fits() -> None:
    with pytest.raises(MemoryPlanError, match=r"--max-model-len to 40 or less") as error:
        plan_num_pages(demand(), max_model_len=41, page_size=4)
    assert "600 bytes" in str(error.value)
    assert "550 bytes" in str(error.value)


@pytest.mark.parametrize(
    ("changes", "flag"),
    [
        ({"temporary_bytes": 800}, "--max-num-batched-tokens"),
        ({"slot_state_bytes": 800}, "--max-num-seqs"),
        ({"weight_bytes": 2000}, "--model"),
    ],
)
def test_what_cannot_fit_names_the_flag_and_the_missing_bytes(changes: dict, flag: str) -> None:
    with pytest.raises(MemoryPlanError, match=flag) as error:
        plan_num_pages(demand(**changes), max_model_len=4, page_size=4)
    missing = demand(**changes).fixed_bytes - 1000
    assert f"by {missing}" in str(error.value)


def test_a_plan_without_a_page_for_sequences_is_refused() -> None:
    with pytest.raises(MemoryPlanError, match="raise --x"):
        verify_num_pages(1, max_model_len=4, page_size=4, page_bytes=9, remedy="raise --x")
