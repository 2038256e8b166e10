from __future__ import annotations

import jax
import numpy as np
import pytest

from engine.sampling import reference, score_tokens

score = jax.jit(score_tokens, static_argnums=2)


@pytest.mark.parametrize("vocab_size", [7, 1000, 128_256])
@pytest.mark.parametrize("spread", [0.01, 1.0, 20.0])
def test_logprobs_are_the_log_softmax(vocab_size, spread):
    rng = np.random.default_rng(0)
    logits = (rng.normal(size=(8, vocab_size)) * spread).astype(np.float32)
    targets = rng.integers(0, vocab_size, 8).astype(np.int32)
    scores = score(logits, targets, 5)
    for row, target in enumerate(targets):
        logprob_V = reference.log_softmax(logits[row].astype(np.float64))
        order = np.argsort(-logits[row], kind="stable")[:5]
        np.testing.assert_allclose(scores.logprob_R[row], logprob_V[target], rtol=1e-6, atol=1e-6)
        np.testing.assert_array_equal(scores.top_ids_RA[row], order)
        np.testing.assert_allclose(
            scores.top_logprobs_RA[row], logprob_V[order], rtol=1e-6, atol=1e-6
        )
        assert int(scores.rank_R[row]) == 1 + int((logits[row] > logits[row, target]).sum())


def test_ties_share_a_rank_and_the_lowest_id_comes_first():
    logits = np.array([[1.0, 3.0, 3.0, 0.0, 3.0]] * 8, np.float32)
    scores = score(logits, np.array([4, 0, 1, 2, 3, 4, 4, 4], np.int32), 4)
    assert np.asarray(scores.rank_R).tolist() == [1, 4, 1, 1, 5, 1, 1, 1]
    assert np.asarray(scores.top_ids_RA)[0].tolist() == [1, 2, 4, 0]


def test_a_position_scores_the_same_among_any_others():
    rng = np.random.default_rng(1)
    logits = (rng.normal(size=(64, 32_000)) * 4).astype(np.float32)
    targets = rng.integers(0, 32_000, 64).astype(np.int32)
    many = score(logits, targets, 3)
    few = score(logits[40:48], targets[40:48], 3)
    for all_rows, some_rows in zip(many, few, strict=True):
        assert np.asarray(all_rows)[40:48].tobytes() == np.asarray(some_rows).tobytes()


def test_ids_asked_for_are_scored_whatever_may_be_chosen(sequence, world):
    wanted = (900, 3, 17)
    sequences = [
        sequence(logprobs=0, logprob_token_ids=wanted, allowed_token_ids=(5,)),
        sequence(logprobs=0),
        sequence(logprobs=0, logprob_token_ids=(999,)),
    ]
    logits = np.random.default_rng(2).normal(size=(3, 1000)).astype(np.float32)
    output, _ = world(sequences, 1000).step(logits)
    for row, ids in ((0, wanted), (2, (999,))):
        expected = reference.log_softmax(logits[row].astype(np.float64))[list(ids)]
        found = output.wanted_logprobs_RK[row, : len(ids)]
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


def test_alternatives_are_of_what_may_be_chosen_where_a_row_asks_for_that(sequence, world):
    sequences = [sequence(logprobs=3, ranks_allowed=True), sequence(logprobs=3)]
    logits = np.tile(np.arange(50, dtype=np.float32), (2, 1))
    allowed = {0: (4, 20), 1: (4, 20)}
    output, _ = world(sequences, 50).step(logits, num_alternatives=3, allowed=allowed)
    top_ids, top_logprobs = np.asarray(output.top_ids_RA), np.asarray(output.top_logprobs_RA)
    assert top_ids[0, :2].tolist() == [20, 4]
    assert top_logprobs[0, 2] == -np.inf
    assert top_ids[1].tolist() == [49, 48, 47]
    expected = reference.log_softmax(np.arange(50, dtype=np.float64))
    np.testing.assert_allclose(top_logprobs[0, :2], expected[[20, 4]], rtol=1e-6)
