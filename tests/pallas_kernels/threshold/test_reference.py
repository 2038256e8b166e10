from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.request import GenerateRequest, SamplingParams
from engine.sampling import reference as sampler
from engine.sampling.logits import clean, sortable
from engine.sequence import Sequence
from pallas_kernels.threshold.reference import largest_cut

cut = jax.jit(largest_cut)
VOCAB_SIZE = 96


def from_sortable(keys):
    return np.asarray(sortable(np.asarray(keys).view(np.float32))).view(np.float32)


def cuts(keys, targets, scales=None):
    return np.asarray(cut(jnp.asarray(keys), jnp.asarray(targets, jnp.int32), scales))


def test_keys_order_like_the_floats_and_come_back():
    floats = np.array([-np.inf, -3e38, -1.5, -1e-45, 0.0, 1e-45, 2.0, 3e38, np.inf], np.float32)
    keys = np.asarray(sortable(floats))
    assert (np.diff(keys.astype(np.int64)) > 0).all()
    assert np.asarray(from_sortable(keys)).tobytes() == floats.tobytes()


def test_clean_gives_equal_floats_equal_keys():
    keys = np.asarray(sortable(clean(np.array([[0.0, -0.0, np.inf, 3.4028235e38]], np.float32))))
    assert keys[0, 0] == keys[0, 1]
    assert keys[0, 2] == keys[0, 3]


@pytest.mark.parametrize("target", [1, 2, 3, 50, 999, 1000])
def test_the_cut_by_count_is_the_kth_largest(target):
    rng = np.random.default_rng(target)
    logits = (rng.normal(size=(8, 1000)) * 10).astype(np.float32)
    logits[4:] = np.round(logits[4:])  # with many ties
    logits[7, :900] = -np.inf
    found = from_sortable(cuts(sortable(logits), np.full(8, target)))
    np.testing.assert_array_equal(found, np.sort(logits, axis=1)[:, -target])


def test_the_extreme_keys_can_be_cut_at():
    keys = np.array([[-(2**31), 2**31 - 1, 0]], np.int32)
    found = [int(cuts(keys, [target])[0]) for target in (1, 2, 3)]
    assert found == [2**31 - 1, 0, -(2**31)]


def test_a_row_that_asks_for_nothing_gets_the_lowest_cut():
    odds = np.array([[1.0, 0.5], [1.0, 0.5]], np.float32)
    assert cuts(odds.view(np.int32), [0, 1])[0] == -(2**31)
    assert cuts(odds.view(np.int32), [0, 1], np.full(2, 100, np.float32))[0] == 0


def test_a_row_that_holds_less_than_is_asked_for_gets_the_lowest_cut():
    assert cuts(np.zeros((1, 5), np.int32), [1], np.ones(1, np.float32))[0] == 0


odds_rows = st.lists(
    st.one_of(
        st.floats(0, 1, width=32, allow_subnormal=False), st.sampled_from([0.0, 0.25, 0.5, 1.0])
    ),
    min_size=VOCAB_SIZE,
    max_size=VOCAB_SIZE,
)


@settings(max_examples=100, deadline=None)
@given(odds_rows, st.floats(0, 1))
def test_the_cut_by_mass_is_the_largest_key_that_reaches_it(odds, share):
    odds_V = np.array(odds, np.float32)
    scale = np.float32(2.0**30 / max(odds_V.sum(), 1e-3) * 0.99)
    weight_V = (odds_V * scale).astype(np.int64)
    target = max(1, int(share * weight_V.sum()))
    (found,) = cuts(odds_V.view(np.int32)[None], [target], np.array([scale]))
    order = np.argsort(-odds_V.view(np.int32), kind="stable")
    reached = np.searchsorted(np.cumsum(weight_V[order]), target)
    expected = odds_V.view(np.int32)[order[reached]] if reached < VOCAB_SIZE else 0
    assert found == expected


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.one_of(st.floats(-30, 30, width=32), st.integers(-3, 3).map(float)),
        min_size=VOCAB_SIZE,
        max_size=VOCAB_SIZE,
    ),
    st.integers(1, VOCAB_SIZE - 1),
)
def test_the_cut_by_count_keeps_what_the_sampler_specifies(logits, top_k):
    logits_V = np.asarray(clean(jnp.asarray(logits, jnp.float32)))
    sampling = SamplingParams(max_tokens=1, top_k=top_k)
    request = GenerateRequest(request_id="r", prompt_token_ids=(1,), sampling=sampling)
    expected_V = sampler.probabilities(
        logits_V.astype(np.float64), Sequence.from_request(request, 0)
    )
    key_V = np.asarray(sortable(logits_V))
    assert np.array_equal(key_V >= cuts(key_V[None], [top_k])[0], expected_V > 0)
