"""Raw log-softmax of the model, before masks, penalties and temperature (vLLM's raw_logprobs)."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from engine.sampling.logits import clean
from engine.sampling.mass import join, limbs, sum_integers
from engine.sampling.ranking import best_id, top_ids


class Scores(NamedTuple):
    """Of one token per row, and of the best ids of the row.

    Attributes:
        logprob_R: float32.
        rank_R: int32, 1 + number of ids with a strictly larger logit.
        top_ids_RA: int32, best first, of equal logits the lowest id first.
        top_logprobs_RA: float32.
        wanted_logprobs_RK: float32, of the ids that were asked for by name; K may be 0.
    """

    logprob_R: jax.Array
    rank_R: jax.Array
    top_ids_RA: jax.Array
    top_logprobs_RA: jax.Array
    wanted_logprobs_RK: jax.Array


def score_tokens(logits_TV: jax.Array, target_T: jax.Array, num_alternatives: int) -> Scores:
    """Score given tokens, as for prompt logprobs.

    Args:
        logits_TV: raw logits, float32; position t's predict `target_T[t]`.
        target_T: int32 in [0, V).
        num_alternatives: static, A <= V.

    Returns:
        `Scores` with T in the place of R. NaN where the logits hold a NaN.
    """
    logits_TV = clean(logits_TV.astype(jnp.float32))
    _, best_logit_T = best_id(logits_TV)
    return score(logits_TV, best_logit_T, target_T, num_alternatives)


def score(
    logits_RV: jax.Array,
    best_logit_R: jax.Array,
    token_R: jax.Array,
    num_alternatives: int,
    *,
    ranked_RV: jax.Array | None = None,
    wanted_RK: jax.Array | None = None,
) -> Scores:
    """`score_tokens` for logits already cleaned, with the largest of each row.

    Args:
        ranked_RV: logits whose best ids are the alternatives; `logits_RV` when None.
        wanted_RK: int32 ids in [0, V) to score as well; none when None.
    """
    token_logit_R1 = jnp.take_along_axis(logits_RV, token_R[:, None], axis=1)
    is_larger_RV = (logits_RV > token_logit_R1).astype(jnp.int32)
    odds_RV = jnp.exp(logits_RV - best_logit_R[:, None])
    *limb_sums_R, num_larger_R = sum_integers((*limbs(odds_RV), is_larger_RV))
    log_total_R = jnp.log(join(tuple(limb_sums_R), logits_RV.shape[1]))
    ranked_RV = logits_RV if ranked_RV is None else ranked_RV
    top_ids_RA, top_logits_RA = top_ids(ranked_RV, num_alternatives)
    if wanted_RK is None:
        wanted_RK = jnp.zeros((token_R.shape[0], 0), jnp.int32)
    wanted_logits_RK = jnp.take_along_axis(logits_RV, wanted_RK, axis=1)
    return Scores(
        logprob_R=token_logit_R1[:, 0] - best_logit_R - log_total_R,
        rank_R=num_larger_R + 1,
        top_ids_RA=top_ids_RA,
        top_logprobs_RA=top_logits_RA - best_logit_R[:, None] - log_total_R[:, None],
        wanted_logprobs_RK=wanted_logits_RK - best_logit_R[:, None] - log_total_R[:, None],
    )
