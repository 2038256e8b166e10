"""From measured sizes to rows of the tuning table."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from bench.kernels import tune
from pallas_kernels.paged_attention import Choice
from pallas_kernels.paged_attention.gpu import tuning as sizes_for
from pallas_kernels.paged_attention.gpu.tuning import TABLE, Tuning


def record(load: Any, sizes: dict[str, int], median_us: float, status: str = "measured") -> Any:
    case = {"measure": "sizes", "load": dataclasses.asdict(load), "sizes": sizes}
    return {"name": "x", "status": status, "case": case, "median_us": median_us}


def test_the_sizes_that_are_fastest_over_all_loads_become_a_table_row() -> None:
    wide, long = tune.decode_loads("llama-3.1-8b", 64)
    (prompt,) = tune.prefill_loads("llama-3.1-8b", 64)
    slow = {"decode_tile": 64, "decode_stages": 2, "split_tokens": 256}
    fast = {"decode_tile": 64, "decode_stages": 5, "split_tokens": 512}
    hanging = {"decode_tile": 128, "decode_stages": 2, "split_tokens": 512}
    records = [
        record(wide, slow, 90.0), record(long, slow, 90.0),
        record(wide, fast, 100.0), record(long, fast, 50.0),
        record(wide, hanging, 10.0), record(long, hanging, 10.0, "hangs"),
        record(prompt, {"prefill_tile": 128, "prefill_stages": 2}, 1.0),
    ]  # fmt: skip
    (row,) = tune.best_rows(records)
    assert row.startswith("(128, 4, 64, 8): Tuning(64, 5, 128, 2, 512),")
    assert list(Tuning.__dataclass_fields__) == [
        "decode_tile", "decode_stages", "prefill_tile", "prefill_stages", "split_tokens"
    ]  # fmt: skip


def test_a_shape_that_was_not_measured_through_gets_no_row() -> None:
    wide, _ = tune.decode_loads("llama-3.1-8b", 64)
    sizes = {"decode_tile": 64, "decode_stages": 2, "split_tokens": 256}
    assert tune.best_rows([record(wide, sizes, 1.0)]) == []


def test_candidates_fit_shared_memory() -> None:
    of_wide_heads = list(tune.candidates(256))
    assert ("decode", {"decode_tile": 64, "decode_stages": 2, "split_tokens": 512}) in of_wide_heads
    assert all(sizes.get("decode_stages", 2) <= 3 for _, sizes in of_wide_heads)


def test_a_candidate_is_measured_with_its_sizes_and_leaves_the_table_as_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[Tuning] = []

    def measure(load: Any, implementation: str, *, quick: bool) -> dict[str, Any]:
        seen.append(sizes_for(128, 4, 64, 8))
        return {}

    monkeypatch.setattr("bench.kernels.world.choose_kind", lambda load: Choice("gpu"))
    monkeypatch.setattr("bench.kernels.attention.measure_attention", measure)
    before = dict(TABLE)
    tune.measure_sizes(tune.decode_loads("llama-3.1-8b", 64)[0], {"decode_stages": 3})
    assert seen[0].decode_stages == 3
    assert before == TABLE
