from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from engine.sampling import reference
from engine.sampling.bad_words import bad_word_bans
from engine.sampling.knobs import unpack
from engine.sampling.logits import best_logit
from engine.sampling.parameters import pack_parameters
from engine.sampling.randomness import threefry_2x32
from engine.sampling.truncate import truncated_weights

EOS = (2,)
KNOBS = {
    "plain": {},
    "temperature": {"temperature": 0.3},
    "hot": {"temperature": 5.0},
    "top_k": {"top_k": 5},
    "top_k of one": {"top_k": 1},
    "top_k beyond the vocabulary": {"top_k": 10_000},
    "top_p": {"top_p": 0.6},
    "tiny top_p": {"top_p": 1e-9},
    "nearly all of top_p": {"top_p": 0.999999},
    "min_p": {"min_p": 0.2},
    "min_p of one": {"min_p": 1.0},
    "repetition": {"repetition_penalty": 1.7},
    "repetition below one": {"repetition_penalty": 0.5},
    "presence": {"presence_penalty": 1.5},
    "frequency": {"frequency_penalty": -0.7},
    "bias": {"logit_bias": {3: 5.0, 4: -100.0}},
    "allowed": {"allowed_token_ids": (0, 31, 32, 33, 40)},
    "bad word": {"bad_words_token_ids": ((7,), (8,))},
    "long bad word": {"bad_words_token_ids": ((5, 6, 9), (6, 10), (5, 11), (9,))},
    "min_tokens": {"min_tokens": 5, "stop_token_ids": (11,)},
    "everything": {
        "temperature": 0.8,
        "top_k": 20,
        "top_p": 0.9,
        "min_p": 0.01,
        "repetition_penalty": 1.2,
        "presence_penalty": 0.3,
        "frequency_penalty": 0.2,
        "logit_bias": {1: 2.0},
        "allowed_token_ids": tuple(range(1, 41)),
        "bad_words_token_ids": ((7,), (6, 10)),
        "min_tokens": 5,
    },
    "greedy with penalties": {"temperature": 0.0, "frequency_penalty": 2.0},
}


def distribution(logits_V, sequence):
    adjusted_V = reference.adjusted_logits(logits_V, sequence, EOS, bad_word_bans(sequence))
    return reference.probabilities(adjusted_V, sequence)


def uniform(sequence, position):
    seed = sequence.sampling.seed
    key = (jnp.uint32(seed & 0xFFFFFFFF), jnp.uint32((seed >> 32) & 0xFFFFFFFF))
    counter = (jnp.uint32(sequence.sequence_index), jnp.uint32(position))
    return int(threefry_2x32(key, counter)[0]) / 2**32


def assert_inverse_of(probability_V, token, u, tolerance=2e-6):
    """The uniform `u` lies in the token's part of [0, 1)."""
    assert probability_V[token] > 0
    end = probability_V[: token + 1].sum()
    assert end - probability_V[token] - tolerance <= u <= end + tolerance


@pytest.mark.parametrize("knobs", KNOBS.values(), ids=KNOBS.keys())
@pytest.mark.parametrize("vocab_size", [45, 1000])
def test_each_knob_gives_the_id_the_specification_gives(knobs, vocab_size, sequence, world):
    rng = np.random.default_rng(len(str(knobs)))
    sequences = [
        sequence((1, 3, 3, 4), (5, 6, 5, 6), index, **{"seed": 40 + index, **knobs})
        for index in range(16)
    ]
    logits = (rng.normal(size=(16, vocab_size)) * 2).astype(np.float32)
    output, _ = world(sequences, vocab_size).step(logits)
    assert not np.asarray(output.is_invalid_R).any()
    for row, each in enumerate(sequences):
        probability_V = distribution(logits[row], each)
        if each.sampling.temperature == 0.0:
            assert int(output.token_R[row]) == int(probability_V.argmax())
        else:
            assert_inverse_of(probability_V, int(output.token_R[row]), uniform(each, 8))


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(-(2**63), 2**63 - 1),
    temperature=st.sampled_from([0.0, 0.01, 0.5, 1.0, 3.0]),
    top_k=st.integers(0, 60),
    top_p=st.floats(1e-6, 1.0),
    min_p=st.sampled_from([0.0, 1e-4, 0.07, 0.9, 1.0]),
    repetition_penalty=st.sampled_from([1.0, 0.5, 1.25, 2.0]),
    presence_penalty=st.sampled_from([0.0, -2.0, 0.5]),
    frequency_penalty=st.sampled_from([0.0, -0.25, 1.5]),
    logit_bias=st.dictionaries(st.integers(0, 44), st.sampled_from([-100.0, -1.0, 4.0, 100.0])),
    allowed=st.none() | st.sets(st.integers(0, 44), min_size=1),
    output=st.lists(st.integers(0, 44), max_size=6),
    min_tokens=st.integers(0, 5),
    scale=st.sampled_from([0.0, 1.0, 8.0]),
)
def test_any_combination_follows_the_specification(
    seed, allowed, output, scale, sequence=None, world=None, **knobs
):
    from tests_engine_sampling_world import World, make_sequence  # noqa: PLC0415

    each = make_sequence(
        (1, 3),
        tuple(output),
        seed=seed,
        allowed_token_ids=None if allowed is None else tuple(sorted(allowed)),
        **knobs,
    )
    rng = np.random.default_rng(seed % 1000)
    logits = (np.round(rng.normal(size=(1, 45)) * scale * 4) / 4).astype(np.float32)
    adjusted_V = reference.adjusted_logits(logits[0], each, EOS)
    result, _ = World([each], 45).step(logits)
    assert bool(result.is_invalid_R[0]) == bool(np.isneginf(adjusted_V).all())
    assume(not np.isneginf(adjusted_V).all())
    probability_V = reference.probabilities(adjusted_V, each)
    assume(not is_on_an_edge(adjusted_V, each))
    token = int(result.token_R[0])
    if each.sampling.temperature == 0.0:
        assert token == int(probability_V.argmax())
    else:
        assert_inverse_of(probability_V, token, uniform(each, 2 + len(output)))
