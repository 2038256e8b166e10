"""The sampler's specification for one row, in plain float64 numpy.

Nothing in the engine calls it. It sorts, it sums and it says what `sample_full` must do; the tests
hold the compiled sampler to it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.sequence import Sequence

Row = NDArray[np.float64]


def log_softmax(logits_V: Row) -> Row:
    """Raw log-probabilities."""
    shifted_V = logits_V - logits_V.max()
    return shifted_V - np.log(np.exp(shifted_V).sum())


def adjusted_logits(
    logits_V: Row, sequence: Sequence, eos_token_ids: tuple[int, ...], bans: tuple[int, ...] = ()
) -> Row:
    """Logits after masks, bias and penalties; `bans` are the ids banned in this step."""
    adjusted_V = logits_V.astype(np.float64)
    adjusted_V[_banned(sequence, eos_token_ids, bans, len(adjusted_V))] = -np.inf
    for token_id, bias in sequence.sampling.logit_bias.items():
        adjusted_V[token_id] += bias
    return _penalised(adjusted_V, sequence)


def _banned(
    sequence: Sequence, eos_token_ids: tuple[int, ...], bans: tuple[int, ...], vocab_size: int
) -> NDArray[np.bool_]:
    sampling = sequence.sampling
    banned_V = np.zeros(vocab_size, np.bool_)
    if sampling.allowed_token_ids is not None:
        banned_V[:] = True
        banned_V[list(sampling.allowed_token_ids)] = False
    single_ids = [word[0] for word in sampling.bad_words_token_ids if len(word) == 1]
    banned_V[[*single_ids, *bans]] = True
    if sequence.num_output_tokens < sampling.min_tokens:
        banned_V[[*eos_token_ids, *sampling.stop_token_ids]] = True
    return banned_V


def _penalised(logits_V: Row, sequence: Sequence) -> Row:
    sampling = sequence.sampling
    output_ids = sequence.token_ids[sequence.num_prompt_tokens :]
    for token_id in set(sequence.token_ids):
        logit, count = logits_V[token_id], output_ids.count(token_id)
        penalty = sampling.repetition_penalty
        logit = logit / penalty if logit > 0 else logit * penalty
        logit -= sampling.frequency_penalty * count + sampling.presence_penalty * (count > 0)
        logits_V[token_id] = logit
    return logits_V


def probabilities(adjusted_V: Row, sequence: Sequence) -> Row:
    """The distribution the next token is drawn from: temperature, min_p, top_k, top_p.

    Ties: every id equal to the k-th largest logit stays; every id equal to the smallest one needed
    to reach top_p stays. Temperature 0 puts everything on the lowest id of the largest logit.
    """
    sampling = sequence.sampling
    if sampling.temperature == 0.0:
        return np.eye(len(adjusted_V))[int(adjusted_V.argmax())]
    odds_V = np.exp((adjusted_V - adjusted_V.max()) / sampling.temperature)
    odds_V[odds_V < sampling.min_p] = 0.0
    if 0 < sampling.top_k < len(adjusted_V):
        odds_V[adjusted_V < np.sort(adjusted_V)[-sampling.top_k]] = 0.0
    odds_V /= odds_V.sum()
    return _nucleus(adjusted_V, odds_V, sampling.top_p)


def _nucleus(adjusted_V: Row, probability_V: Row, top_p: float) -> Row:
    if top_p >= 1.0:
        return probability_V
    order = np.argsort(-adjusted_V, kind="stable")
    upto_V = np.cumsum(probability_V[order])
    smallest = adjusted_V[order[min(int(np.searchsorted(upto_V, top_p)), len(order) - 1)]]
    kept_V = np.where(adjusted_V >= smallest, probability_V, 0.0)
    return kept_V / kept_V.sum()
