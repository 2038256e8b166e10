"""Bytes, FLOPs and names of loads."""

from __future__ import annotations

import dataclasses
import json

from bench.kernels.loads import ALL, GOALS, Load, decode, prefill


def test_decode_reads_keys_and_values_of_every_row_once() -> None:
    kv_bytes = 64 * 4096 * 8 * 128 * 2 * 2
    q_and_o_bytes = 64 * 32 * 128 * 2 * 2
    assert decode(64, 4096).num_bytes() == kv_bytes + q_and_o_bytes


def test_prefill_counts_the_pairs_that_are_not_masked() -> None:
    assert prefill(4).num_flops() == 4 * (1 + 2 + 3 + 4) * 32 * 128


def test_a_window_bounds_what_is_read_and_multiplied() -> None:
    load = Load("tiny", ((1, 100, 10),), 16, window=20)
    assert load.num_flops() == 4 * 10 * 20 * 4 * 64
    assert load.num_bytes() == (29 * 2 * 2 * 64 + 10 * 2 * 4 * 64) * 2


def test_every_load_has_a_name_of_its_own_and_survives_json() -> None:
    assert len({load.name for load in ALL}) == len(ALL)
    assert ALL[: len(GOALS)] == GOALS
    for load in ALL:
        assert Load.from_json(json.loads(json.dumps(dataclasses.asdict(load)))) == load


def test_8_bit_pages_are_half_the_bytes() -> None:
    narrow = dataclasses.replace(decode(64, 4096), kv_dtype="int8")
    q_and_o_bytes = 64 * 32 * 128 * 2 * 2
    assert 2 * (narrow.num_bytes() - q_and_o_bytes) == decode(64, 4096).num_bytes() - q_and_o_bytes
    assert narrow.name.endswith(" int8")
