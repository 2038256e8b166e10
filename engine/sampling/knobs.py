"""The packed parameters as the compiled step reads them."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from engine.sampling.parameters import Field


class Knobs(NamedTuple):
    """Per-row sampling parameters; fields of `engine.sampling.parameters.Field` by name."""

    temperature_R: jax.Array
    top_k_R: jax.Array
    top_p_R: jax.Array
    min_p_R: jax.Array
    repetition_penalty_R: jax.Array
    presence_penalty_R: jax.Array
    frequency_penalty_R: jax.Array
    min_tokens_R: jax.Array
    seed_low_R: jax.Array
    seed_high_R: jax.Array
    sequence_index_R: jax.Array
    uses_slot_row_R: jax.Array
    ranks_allowed_R: jax.Array


def unpack(parameters_RF: jax.Array) -> Knobs:
    """Columns of int32 `parameters_RF` in their own types."""

    def integer(field: Field) -> jax.Array:
        return parameters_RF[:, field]

    def float32(field: Field) -> jax.Array:
        return lax.bitcast_convert_type(integer(field), jnp.float32)

    def word(field: Field) -> jax.Array:
        return lax.bitcast_convert_type(integer(field), jnp.uint32)

    return Knobs(
        temperature_R=float32(Field.TEMPERATURE),
        top_k_R=integer(Field.TOP_K),
        top_p_R=word(Field.TOP_P),
        min_p_R=float32(Field.MIN_P),
        repetition_penalty_R=float32(Field.REPETITION_PENALTY),
        presence_penalty_R=float32(Field.PRESENCE_PENALTY),
        frequency_penalty_R=float32(Field.FREQUENCY_PENALTY),
        min_tokens_R=integer(Field.MIN_TOKENS),
        seed_low_R=word(Field.SEED_LOW),
        seed_high_R=word(Field.SEED_HIGH),
        sequence_index_R=word(Field.SEQUENCE_INDEX),
        uses_slot_row_R=integer(Field.USES_SLOT_ROW) != 0,
        ranks_allowed_R=integer(Field.RANKS_ALLOWED) != 0,
    )
