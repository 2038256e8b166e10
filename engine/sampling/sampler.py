"""The two variants of the sampler that are compiled into the step."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from engine.sampling.adjust import adjust
from engine.sampling.draw import pick
from engine.sampling.knobs import Knobs, unpack
from engine.sampling.logits import clean, is_unusable
from engine.sampling.logprobs import score
from engine.sampling.randomness import random_word
from engine.sampling.ranking import best_id
from engine.sampling.state import SlotState, remember
from engine.sampling.truncate import PLAIN, truncated_weights
from pallas_kernels.threshold import Threshold


class SampleOutput(NamedTuple):
    """What one step sampled, one row each. Rows that did not sample hold harmless values.

    Attributes:
        token_R: int32, always in [0, V).
        is_invalid_R: bool: NaN among the logits, or nothing may be chosen. The token means nothing.
        logprob_R: float32, raw log-softmax of the token.
        rank_R: int32, 1-based; 0 from the greedy variant, which scores nothing.
        top_ids_RA: int32; A is 0 from the greedy variant.
        top_logprobs_RA: float32.
        wanted_logprobs_RK: float32, of the ids in the row's slot; K is 0 from the greedy variant.
    """

    token_R: jax.Array
    is_invalid_R: jax.Array
    logprob_R: jax.Array
    rank_R: jax.Array
    top_ids_RA: jax.Array
    top_logprobs_RA: jax.Array
    wanted_logprobs_RK: jax.Array


def sample_greedy(
    logits_RV: jax.Array, state: SlotState, slot_R: jax.Array, is_sampling_R: jax.Array
) -> tuple[SampleOutput, SlotState]:
    """The best id of each row and nothing else: for steps whose rows are all `is_greedy_only`.

    Args:
        logits_RV: float32.
        state: to be donated.
        slot_R: int32, slot of each row; padding rows name the trash slot.
        is_sampling_R: bool; other rows leave no trace in `state`.
    """
    token_R, best_logit_R = best_id(clean(logits_RV))
    num_rows = token_R.shape[0]
    output = SampleOutput(
        token_R=token_R,
        is_invalid_R=is_unusable(best_logit_R) & is_sampling_R,
        logprob_R=jnp.zeros((num_rows,), jnp.float32),
        rank_R=jnp.zeros((num_rows,), jnp.int32),
        top_ids_RA=jnp.zeros((num_rows, 0), jnp.int32),
        top_logprobs_RA=jnp.zeros((num_rows, 0), jnp.float32),
        wanted_logprobs_RK=jnp.zeros((num_rows, 0), jnp.float32),
    )
    return output, remember(state, _writing_slot(state, slot_R, is_sampling_R), token_R)


def sample_full(  # noqa: PLR0917 - the arrays of one step, in packing order
    logits_RV: jax.Array,
    state: SlotState,
    slot_R: jax.Array,
    is_sampling_R: jax.Array,
    parameters_RF: jax.Array,
    output_position_R: jax.Array,
    num_output_R: jax.Array,
    ban_RB: jax.Array,
    allowed_RW: jax.Array,
    num_alternatives: int,
    threshold: Threshold = PLAIN,
) -> tuple[SampleOutput, SlotState]:
    """Everything `SamplingParams` can ask for, greedy rows included.

    Args:
        logits_RV: float32.
        state: to be donated.
        slot_R: int32, slot of each row; padding rows name the trash slot.
        is_sampling_R: bool; other rows leave no trace in `state`.
        parameters_RF: int32, rows of `pack_parameters`.
        output_position_R: int32, index in its sequence of the token to be sampled.
        num_output_R: int32, tokens generated before it.
        ban_RB: int32, ids banned in this step (`bad_word_bans`), -1 = none. They are heeded only
            by sequences that have bad words, whose slot row was written.
        allowed_RW: uint32 bits of the ids each row may choose in this step, beside what its slot
            allows; all ones where no grammar says otherwise.
        num_alternatives: static, A <= V.
        threshold: static, the search for the cuts of top_k and top_p.
    """
    knobs = unpack(parameters_RF)
    raw_RV = clean(logits_RV)
    _, raw_best_R = best_id(raw_RV)
    logits_RV = adjust(raw_RV, state, slot_R, knobs, num_output_R, ban_RB, allowed_RW)
    best_id_R, best_logit_R = best_id(logits_RV)
    weight_RV = truncated_weights(logits_RV, best_logit_R, knobs, threshold)
    drawn_R = _draw(weight_RV, knobs, output_position_R)
    token_R = jnp.where(knobs.temperature_R > 0, drawn_R, best_id_R)
    ranked_RV = jnp.where(knobs.ranks_allowed_R[:, None], logits_RV, raw_RV)
    scores = score(
        raw_RV,
        raw_best_R,
        token_R,
        num_alternatives,
        ranked_RV=ranked_RV,
        wanted_RK=state.scored_SK[slot_R],
    )
    is_invalid_R = (is_unusable(raw_best_R) | is_unusable(best_logit_R)) & is_sampling_R
    output = SampleOutput(token_R, is_invalid_R, *scores)
    return output, remember(state, _writing_slot(state, slot_R, is_sampling_R), token_R)


def _draw(weight_RV: jax.Array, knobs: Knobs, position_R: jax.Array) -> jax.Array:
    """An id from each row's truncated distribution, int32 [R]."""
    word_R = random_word(
        knobs.seed_low_R,
        knobs.seed_high_R,
        knobs.sequence_index_R,
        position_R.astype(jnp.uint32),
    )
    return pick(weight_RV, word_R)


def _writing_slot(state: SlotState, slot_R: jax.Array, is_sampling_R: jax.Array) -> jax.Array:
    """The slot to write to: the row's own, or the trash slot for rows that do not sample."""
    return jnp.where(is_sampling_R, slot_R, state.last_token_S.shape[0] - 1)
