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
from engine.sampling.logits import clean
from engine.sampling.parameters import pack_parameters
from engine.sampling.randomness import threefry_2x32
from engine.sampling.ranking import best_id
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
    sequence, world, seed, allowed, output, scale, **knobs
):
    each = sequence(
        (1, 3),
        tuple(output),
        seed=seed,
        allowed_token_ids=None if allowed is None else tuple(sorted(allowed)),
        **knobs,
    )
    rng = np.random.default_rng(seed % 1000)
    logits = (np.round(rng.normal(size=(1, 45)) * scale * 4) / 4).astype(np.float32)
    adjusted_V = reference.adjusted_logits(logits[0], each, EOS)
    result, _ = world([each], 45).step(logits)
    assert bool(result.is_invalid_R[0]) == bool(np.isneginf(adjusted_V).all())
    assume(not np.isneginf(adjusted_V).all() and not is_on_an_edge(adjusted_V, each))
    probability_V = reference.probabilities(adjusted_V, each)
    token = int(result.token_R[0])
    if each.sampling.temperature == 0.0:
        assert token == int(probability_V.argmax())
    else:
        assert_inverse_of(probability_V, token, uniform(each, 2 + len(output)))


def is_on_an_edge(adjusted_V, sequence):
    """Whether float32 and float64 may disagree on which side of min_p or top_p an id lies."""
    knobs = sequence.sampling
    if knobs.temperature == 0.0:
        return False
    odds_V = np.exp((adjusted_V - adjusted_V.max()) / knobs.temperature)
    if ((odds_V != knobs.min_p) & (np.abs(odds_V - knobs.min_p) < 1e-6)).any():
        return knobs.min_p > 0
    odds_V[odds_V < knobs.min_p] = 0
    if 0 < knobs.top_k < len(odds_V):
        odds_V[adjusted_V < np.sort(adjusted_V)[-knobs.top_k]] = 0
    upto_V = np.cumsum(np.sort(odds_V)[::-1]) / odds_V.sum()
    return knobs.top_p < 1 and bool((np.abs(upto_V - knobs.top_p) < 1e-5).any())


@pytest.mark.parametrize("spread", [0.0, 1e-3, 1.0, 6.0])
@pytest.mark.parametrize("vocab_size", [45, 128_256])
def test_weights_are_the_probabilities_of_the_specification(spread, vocab_size, sequence):
    rng = np.random.default_rng(9)
    logits = (rng.normal(size=(8, vocab_size)) * spread).astype(np.float32)
    knobs = [{}, {"top_k": 40}, {"top_p": 0.7}, {"min_p": 0.3}, {"top_k": 30, "top_p": 0.9}]
    knobs += [{"temperature": 0.4, "top_p": 0.95}, {"top_p": 0.01}, {"top_k": 1}]
    sequences = [sequence(**each) for each in knobs]
    parameters = jnp.asarray(np.stack([pack_parameters(each, EOS) for each in sequences]))
    weights = np.asarray(weigh(jnp.asarray(logits), parameters)).astype(np.float64)
    assert (weights.sum(axis=1) < 2**31).all()
    for row, each in enumerate(sequences):
        expected_V = reference.probabilities(logits[row].astype(np.float64), each)
        found_V = weights[row] / weights[row].sum()
        assert np.abs(found_V - expected_V).sum() < 2e-5 * (1 + 3 * (vocab_size > 1000))
        # Of a nucleus of thousands, the last ids are within rounding of its edge.
        num_extra = ((found_V > 0) & (expected_V == 0)).sum()
        assert num_extra <= (8 if vocab_size > 1000 else 0)


@jax.jit
def weigh(logits_RV, parameters_RF):
    logits_RV = clean(logits_RV)
    return truncated_weights(logits_RV, best_id(logits_RV)[1], unpack(parameters_RF))


@pytest.mark.parametrize(
    "knobs",
    [{}, {"temperature": 2.0, "top_k": 20}, {"top_p": 0.8, "repetition_penalty": 1.3}],
    ids=str,
)
def test_draws_over_many_positions_have_the_right_distribution(knobs, sequence, world):
    rng = np.random.default_rng(11)
    logits_V = (rng.normal(size=50) * 1.5).astype(np.float32)
    sequences = [sequence((1, 2), seed=row, **knobs) for row in range(512)]
    logits = np.tile(logits_V, (512, 1))
    small = world(sequences, 50)
    counts = np.zeros(50)
    for position in range(100):
        output, _ = small.step(logits, positions=[position] * 512)
        counts += np.bincount(np.asarray(output.token_R), minlength=50)
    expected = distribution(logits_V, sequences[0]) * counts.sum()
    assert (counts[expected == 0] == 0).all()
    likely = expected > 5
    chi_square = ((counts - expected)[likely] ** 2 / expected[likely]).sum()
    degrees = likely.sum() - 1
    assert chi_square < degrees + 5 * np.sqrt(2 * degrees)


def test_seed_sequence_index_and_position_each_change_the_draw_and_nothing_else_does(
    sequence, world
):
    logits = np.zeros((1, 5000), np.float32)

    def token(position=3, **arguments):
        output, _ = world([sequence(**arguments)], 5000).step(logits, positions=[position])
        return int(output.token_R[0])

    first = token(seed=2**40 + 1)
    assert token(seed=2**40 + 1) == first
    others = [token(seed=1), token(seed=2**41 + 1), token(seed=-(2**40) - 1)]
    others += [token(seed=2**40 + 1, index=1), token(seed=2**40 + 1, position=4)]
    assert len({first, *others}) == 6


def mixed_sequences(sequence):
    return [
        sequence((1, 3, 3), (5, 6, 5, 6), index, **{"seed": 100 + index, **knobs})
        for index, knobs in enumerate(KNOBS.values())
    ]


def row_bytes(output, row):
    return [np.asarray(field)[row].tobytes() for field in output]


@pytest.mark.parametrize("vocab_size", [45, 1000, 32_000])
def test_a_row_is_bit_equal_alone_shuffled_and_in_any_bucket(vocab_size, sequence, world):
    sequences = mixed_sequences(sequence)
    rng = np.random.default_rng(13)
    logits = (rng.normal(size=(len(sequences), vocab_size)) * 3).astype(np.float32)
    small = world(sequences, vocab_size)
    together, _ = small.step(logits, num_alternatives=5, num_rows=24)
    shuffled = rng.permutation(len(sequences))
    moved, _ = small.step(logits, order=list(shuffled), num_alternatives=5, num_rows=32)
    for row, slot in enumerate(shuffled):
        assert row_bytes(moved, row) == row_bytes(together, slot)
    for slot in range(0, len(sequences), 3 if vocab_size > 1000 else 1):
        for num_rows in (8, 16):
            alone, _ = small.step(
                logits, order=[slot], num_rows=num_rows, num_alternatives=5, padding_logit=np.nan
            )
            assert row_bytes(alone, 0) == row_bytes(together, slot)


def test_a_row_of_nan_or_with_nothing_allowed_is_invalid_and_alone(sequence, world):
    sequences = [sequence(seed=row) for row in range(7)]
    sequences.append(sequence(seed=7, allowed_token_ids=(2,), min_tokens=3))
    logits = np.random.default_rng(0).normal(size=(8, 100)).astype(np.float32)
    clean_output, _ = world(sequences, 100).step(logits)
    broken = logits.copy()
    broken[1, 50] = np.nan
    broken[3, :] = np.nan
    broken[4, 2] = np.array(0xFFC00000, np.uint32).view(np.float32)  # a negative NaN
    broken[5, :] = -np.inf
    output, _ = world(sequences, 100).step(broken)
    np.testing.assert_array_equal(np.where(output.is_invalid_R)[0], [1, 3, 4, 5, 7])
    for row in (0, 2, 6):
        assert row_bytes(output, row) == row_bytes(clean_output, row)
    assert ((np.asarray(output.token_R) >= 0) & (np.asarray(output.token_R) < 100)).all()
    greedy, _ = world(sequences, 100).step(broken, is_greedy=True)
    np.testing.assert_array_equal(np.where(greedy.is_invalid_R)[0], [1, 3, 4, 5])
    assert ((np.asarray(greedy.token_R) >= 0) & (np.asarray(greedy.token_R) < 100)).all()


def test_huge_and_infinite_logits_are_ordinary(sequence, world):
    sequences = [sequence(seed=1), sequence(temperature=1e-5), sequence(repetition_penalty=0.01)]
    logits = np.full((3, 40), -np.inf, np.float32)
    logits[0, [4, 9]] = np.inf
    logits[1, [4, 9]] = 3.4e38, 3.3e38
    logits[2, [1, 9]] = 3.4e38, -3.4e38
    output, _ = world(sequences, 40).step(logits)
    assert not np.asarray(output.is_invalid_R).any()
    tokens = np.asarray(output.token_R)[:3]
    assert tokens[0] in (4, 9)
    assert list(tokens[1:]) == [4, 1]
    np.testing.assert_allclose(np.asarray(output.logprob_R)[:3], [-np.log(2), 0, 0], rtol=1e-6)


def test_greedy_ids_are_the_same_in_both_variants_ties_to_the_lowest(sequence, world):
    rng = np.random.default_rng(17)
    logits = np.round(rng.normal(size=(16, 3000)) * 2).astype(np.float32)
    logits[0] = 0.0
    logits[1, ::2] = -0.0
    sequences = [sequence(temperature=0.0, seed=row) for row in range(16)]
    small = world(sequences, 3000)
    plain, _ = small.step(logits, is_greedy=True)
    full, _ = small.step(logits)
    np.testing.assert_array_equal(plain.token_R, logits.argmax(axis=1))
    np.testing.assert_array_equal(full.token_R, plain.token_R)
    assert plain.top_ids_RA.shape == (16, 0)


@pytest.mark.parametrize("is_greedy", [False, True])
def test_only_sampling_rows_are_remembered(is_greedy, sequence, world):
    sequences = [sequence(temperature=0.0, presence_penalty=0.5) for _ in range(9)]
    logits = np.eye(9, 40, dtype=np.float32) * 5
    output, state = world(sequences, 40).step(logits, order=[4, 2], is_greedy=is_greedy)
    assert list(np.asarray(output.token_R)[:2]) == [4, 2]
    np.testing.assert_array_equal(np.asarray(state.last_token_S)[:9], [0, 0, 2, 0, 4, 0, 0, 0, 0])
    counts = np.asarray(state.token_counts_SV)[:9] & ((1 << 30) - 1)
    expected = np.zeros((9, 40), np.int32)
    expected[[2, 4], [2, 4]] = 1
    np.testing.assert_array_equal(counts, expected)


def test_penalties_follow_the_tokens_sampled_on_the_device(sequence, world):
    each = sequence((1,), temperature=0.0, frequency_penalty=1.0, repetition_penalty=1.5)
    logits = np.random.default_rng(3).normal(size=(1, 20)).astype(np.float32)
    small = world([each], 20)
    for _ in range(30):
        expected = distribution(logits[0], each).argmax()
        output, small.state = small.step(logits)
        assert int(output.token_R[0]) == expected
        each.token_ids.append(int(expected))


def test_a_banned_id_never_comes_in_a_hundred_thousand_draws(sequence, world):
    allowed = (3, 17, 44, 90)
    sequences = [
        sequence(seed=row, temperature=100.0, allowed_token_ids=allowed, top_k=3)
        for row in range(512)
    ]
    logits = np.tile(np.linspace(0, 9, 101, dtype=np.float32), (512, 1))
    small = world(sequences, 101)
    for position in range(200):
        output, _ = small.step(logits, positions=[position] * 512)
        assert set(np.asarray(output.token_R).tolist()) <= {17, 44, 90}


def test_state_left_by_an_earlier_owner_of_the_slot_is_ignored(sequence, world):
    owner = sequence(allowed_token_ids=(5,), temperature=0.0)
    logits = np.random.default_rng(0).normal(size=(1, 64)).astype(np.float32)
    small = world([owner], 64)
    output, small.state = small.step(logits)
    assert int(output.token_R[0]) == 5
    small.sequences = [sequence(temperature=0.0)]
    output, _ = small.step(logits)
    assert int(output.token_R[0]) == int(logits.argmax())


def test_full_returns_the_alternatives_of_the_raw_logits(sequence, world):
    each = sequence(temperature=0.0, logit_bias={7: 100.0})
    logits = np.random.default_rng(1).normal(size=(1, 64)).astype(np.float32)
    output, _ = world([each], 64).step(logits, num_alternatives=4)
    logprob_V = reference.log_softmax(logits[0].astype(np.float64))
    order = np.argsort(-logits[0], kind="stable")
    assert int(output.token_R[0]) == 7
    assert int(output.rank_R[0]) == 1 + int(np.where(order == 7)[0][0])
    np.testing.assert_array_equal(output.top_ids_RA[0], order[:4])
    np.testing.assert_allclose(output.top_logprobs_RA[0], logprob_V[order[:4]], rtol=1e-6)
    np.testing.assert_allclose(output.logprob_R[0], logprob_V[7], rtol=1e-6)
