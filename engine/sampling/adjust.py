"""Masks, bias and penalties: the raw logits become the logits a token is chosen from.

Order as in vLLM: allowed ids, bad words and min_tokens ban; the bias is added; then the penalties.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

from engine.sampling.knobs import Knobs
from engine.sampling.logits import clean
from engine.sampling.row import PROMPT_BIT
from engine.sampling.state import SlotState


def adjust(  # noqa: PLR0917 - one argument each for what a row is made of
    logits_RV: jax.Array,
    state: SlotState,
    slot_R: jax.Array,
    knobs: Knobs,
    num_output_R: jax.Array,
    ban_RB: jax.Array,
    allowed_RW: jax.Array,
) -> jax.Array:
    """Logits to choose from, float32 [R, V]; -inf is banned.

    Rows without `uses_slot_row` keep the logits of what `allowed_RW` allows bit for bit.
    """
    uses_slot_row_R1 = knobs.uses_slot_row_R[:, None]
    slot_RW = _allowed_words(state, slot_R, knobs, num_output_R, ban_RB)
    mask_RW = jnp.where(uses_slot_row_R1, slot_RW & allowed_RW, allowed_RW)
    is_allowed_RV = _bits(mask_RW, logits_RV.shape[1])
    biased_RV = logits_RV + state.bias_SV[slot_R]
    penalised_RV = _penalise(biased_RV, state.token_counts_SV[slot_R], knobs)
    adjusted_RV = jnp.where(uses_slot_row_R1, clean(penalised_RV), logits_RV)
    adjusted_RV = jnp.where(is_allowed_RV, adjusted_RV, -jnp.inf)
    # Else XLA computes all this again for each of its readers.
    return lax.optimization_barrier(adjusted_RV)


def _allowed_words(
    state: SlotState,
    slot_R: jax.Array,
    knobs: Knobs,
    num_output_R: jax.Array,
    ban_RB: jax.Array,
) -> jax.Array:
    """uint32 [R, W]: bits of the ids that may be chosen in this step."""
    mask_RW = state.allowed_SW[slot_R]
    holds_back_R = num_output_R < knobs.min_tokens_R
    mask_RW &= ~jnp.where(holds_back_R[:, None], state.stop_SW[slot_R], jnp.uint32(0))
    word_1W = lax.broadcasted_iota(jnp.int32, (1, mask_RW.shape[1]), 1)
    for column in range(ban_RB.shape[1]):
        ban_R1 = ban_RB[:, column : column + 1]
        # -1 >> 5 is -1, which is no word: padding bans nothing.
        is_word_RW = word_1W == (ban_R1 >> 5)
        bit_R1 = jnp.uint32(1) << (ban_R1 & 31).astype(jnp.uint32)
        mask_RW &= ~jnp.where(is_word_RW, bit_R1, jnp.uint32(0))
    return mask_RW


def _bits(words_RW: jax.Array, vocab_size: int) -> jax.Array:
    """Bits of `words_RW` one by one, bool [R, vocab_size]."""
    bit_B = jnp.arange(32, dtype=jnp.uint32)
    bits_RWB = (words_RW[:, :, None] >> bit_B[None, None, :]) & jnp.uint32(1)
    return bits_RWB.reshape(words_RW.shape[0], -1)[:, :vocab_size] == jnp.uint32(1)


def _penalise(logits_RV: jax.Array, counts_RV: jax.Array, knobs: Knobs) -> jax.Array:
    """Repetition penalty over prompt and output; frequency and presence over the output."""
    output_RV = (counts_RV & (PROMPT_BIT - 1)).astype(jnp.float32)
    repetition_R1 = knobs.repetition_penalty_R[:, None]
    repeated_RV = jnp.where(logits_RV > 0, logits_RV / repetition_R1, logits_RV * repetition_R1)
    logits_RV = jnp.where(counts_RV != 0, repeated_RV, logits_RV)
    logits_RV -= knobs.frequency_penalty_R[:, None] * output_RV
    presence_R1 = knobs.presence_penalty_R[:, None]
    return logits_RV - jnp.where(output_RV > 0, presence_R1, jnp.float32(0))
