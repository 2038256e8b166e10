from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from engine.request import SamplingParams
from engine.sampling import is_greedy_only, pack_parameters, slot_row
from engine.sampling.knobs import unpack

OTHER_KNOBS = [
    {"temperature": 0.5},
    {"logprobs": 0},
    {"presence_penalty": 0.1},
    {"frequency_penalty": 0.1},
    {"repetition_penalty": 1.1},
    {"logit_bias": {1: 1.0}},
    {"allowed_token_ids": (1,)},
    {"bad_words_token_ids": ((1,),)},
    {"min_tokens": 1},
]


def test_packed_parameters_come_out_as_they_went_in(sequence):
    each = sequence(
        temperature=0.7, top_k=9, top_p=0.25, min_p=0.1, seed=-(2**63) + 5, index=3, min_tokens=4
    )
    knobs = unpack(pack_parameters(each, (2,))[None])
    assert np.float32(0.7) == knobs.temperature_R[0]
    assert (int(knobs.top_k_R[0]), int(knobs.top_p_R[0])) == (9, 2**30)
    assert np.float32(0.1) == knobs.min_p_R[0]
    assert (int(knobs.seed_low_R[0]), int(knobs.seed_high_R[0])) == (5, 2**31)
    assert (int(knobs.sequence_index_R[0]), int(knobs.min_tokens_R[0])) == (3, 4)
    assert bool(knobs.uses_slot_row_R[0])


def test_numbers_beyond_32_bits_become_the_largest(sequence):
    knobs = unpack(pack_parameters(sequence(top_k=2**63, repetition_penalty=1e300), (2,))[None])
    assert int(knobs.top_k_R[0]) == 2**31 - 1
    assert knobs.repetition_penalty_R[0] == np.finfo(np.float32).max


@pytest.mark.parametrize("knobs", OTHER_KNOBS, ids=str)
def test_the_greedy_variant_is_only_for_requests_that_want_nothing_else(knobs):
    plain = {"max_tokens": 5, "temperature": 0.0}
    assert is_greedy_only(SamplingParams(**plain, top_k=5, top_p=0.5, seed=3))
    assert not is_greedy_only(SamplingParams(**{**plain, **knobs}))


def test_a_slot_row_is_made_only_when_something_needs_it(sequence):
    assert slot_row(sequence(temperature=0.5, top_k=3, logprobs=5), (2,), 50) is None
    assert slot_row(sequence(min_tokens=3), (), 50) is None
    for knobs in OTHER_KNOBS[2:]:
        assert slot_row(sequence(**knobs), (2,), 50) is not None


def test_the_slot_row_of_a_resumed_sequence_counts_its_output(sequence):
    row = slot_row(sequence((1, 4), (4, 7, 7), presence_penalty=1.0), (2,), 50)
    assert row is not None
    assert {int(v): int(row.token_counts_V[v]) for v in row.token_counts_V.nonzero()[0]} == {
        1: 1 << 30,
        4: (1 << 30) + 1,
        7: 2,
    }


def test_bits_of_allowed_and_stop_ids(sequence):
    row = slot_row(
        sequence(allowed_token_ids=(0, 31, 32), min_tokens=1, stop_token_ids=(33,)), (2,), 50
    )
    assert row is not None
    assert row.allowed_W.tolist() == [1 | 1 << 31, 1]
    assert row.stop_W.tolist() == [1 << 2, 1 << 1]


def test_the_host_side_imports_no_jax():
    code = (
        "import sys; from engine.sampling import is_greedy_only, slot_row, bad_word_bans, "
        "pack_parameters; sys.exit('jax' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
