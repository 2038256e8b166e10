"""Device state of the slots: what the sampler must remember of a sequence between steps."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from engine.request import MAX_LOGPROB_TOKEN_IDS
from engine.sampling.row import SlotRow, num_words


class SlotState(NamedTuple):
    """Rows are slots; the last of the S + 1 rows is the trash slot, which nobody reads.

    Attributes:
        last_token_S: int32, the token sampled last, read by the next step.
        token_counts_SV: int32, times each id was generated; bit 30 is set when the prompt has it.
        bias_SV: float32, added to the logits; -inf bans.
        allowed_SW: uint32 bits, set = allowed.
        stop_SW: uint32 bits, set = banned until min_tokens have been generated.
        scored_SK: int32, ids whose log-probabilities are asked for; any ids where none are.
    """

    last_token_S: jax.Array
    token_counts_SV: jax.Array
    bias_SV: jax.Array
    allowed_SW: jax.Array
    stop_SW: jax.Array
    scored_SK: jax.Array


def make_slot_state(num_slots: int, vocab_size: int) -> SlotState:
    """State of `num_slots` slots and the trash slot, in which nothing is banned or counted."""
    num_rows, width = num_slots + 1, num_words(vocab_size)
    return SlotState(
        last_token_S=jnp.zeros((num_rows,), jnp.int32),
        token_counts_SV=jnp.zeros((num_rows, vocab_size), jnp.int32),
        bias_SV=jnp.zeros((num_rows, vocab_size), jnp.float32),
        allowed_SW=jnp.full((num_rows, width), 0xFFFFFFFF, jnp.uint32),
        stop_SW=jnp.zeros((num_rows, width), jnp.uint32),
        scored_SK=jnp.zeros((num_rows, MAX_LOGPROB_TOKEN_IDS), jnp.int32),
    )


def write_slot_row(state: SlotState, slot_index: jax.Array, row: SlotRow) -> SlotState:
    """Give slot `slot_index` (int32 scalar) to the sequence `row` was made for.

    To be jitted with `state` donated. `last_token_S` is left: the sampler writes it before it is
    read.
    """
    return state._replace(
        token_counts_SV=state.token_counts_SV.at[slot_index].set(row.token_counts_V),
        bias_SV=state.bias_SV.at[slot_index].set(row.bias_V),
        allowed_SW=state.allowed_SW.at[slot_index].set(row.allowed_W),
        stop_SW=state.stop_SW.at[slot_index].set(row.stop_W),
        scored_SK=state.scored_SK.at[slot_index].set(row.scored_K),
    )


def remember(state: SlotState, writing_slot_R: jax.Array, token_R: jax.Array) -> SlotState:
    """Write this step's tokens and count them. Rows that did not sample name the trash slot."""
    return state._replace(
        last_token_S=state.last_token_S.at[writing_slot_R].set(token_R),
        token_counts_SV=state.token_counts_SV.at[writing_slot_R, token_R].add(jnp.int32(1)),
    )
