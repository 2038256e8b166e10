"""One step of attention over a tile of keys: what decode and prefill share."""

from __future__ import annotations

import dataclasses
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu

from pallas_kernels.paged_attention.gpu.mosaic import Ops, Ref, over_columns, parts_of

LOG2_E = math.log2(math.e)
LOWEST = -1e30
"""Where a running maximum starts: finite, so that a row that sees nothing stays a number."""


@dataclasses.dataclass(frozen=True)
class Scoring:
    """What turns products of queries and keys into scores, as in `reference.attend`."""

    scale: float
    window: int = 0
    softcap: float | None = None

    def scores(self, products_MC: jax.Array) -> jax.Array:
        """Scores in units of log2(e), so that the softmax runs on exp2."""
        if self.softcap is None:
            return products_MC * (self.scale * LOG2_E)
        # tanh(x) = 1 - 2 / (1 + e^2x): the chip's own approximate tanh errs by 2^-11.
        power_MC = jnp.exp2(products_MC * (2.0 * LOG2_E * self.scale / self.softcap))
        limit = self.softcap * LOG2_E
        return limit - 2.0 * limit * reciprocal(1.0 + power_MC)


def reciprocal(positive: jax.Array) -> jax.Array:
    """1 / x for x > 0, infinity too: two instructions, where an exact division is a subroutine."""
    root = lax.rsqrt(positive)
    return root * root


class Running(NamedTuple):
    """The online softmax of M rows: the largest score, the sum of weights, the weighted values."""

    max_M: jax.Array
    sum_M: jax.Array
    o_MH: jax.Array


def start(ops: Ops, head_dim: int, sink: jax.Array | float = LOWEST) -> Running:
    """The state before any key: only the sink (in log2; LOWEST for none) has a weight."""
    return Running(ops.rows(sink), ops.rows(1.0), ops.zeros(head_dim))


def weigh(state: Running, scores_MC: jax.Array) -> tuple[Running, jax.Array]:
    """Take in the scores of a tile (-inf where masked): the state rescaled, and the weights."""
    max_M = jnp.maximum(state.max_M, jnp.max(scores_MC, axis=1))
    weights_MC = jnp.exp2(scores_MC - over_columns(max_M, scores_MC.shape[1]))
    keep_M = jnp.exp2(state.max_M - max_M)
    sum_M = state.sum_M * keep_M + jnp.sum(weights_MC, axis=1)
    o_MH = state.o_MH * over_columns(keep_M, state.o_MH.shape[1])
    return Running(max_M, sum_M, o_MH), weights_MC


def clear_unwritten(
    ops: Ops, v_ref: Ref, num_written: jax.Array, share: jax.Array | None = None
) -> None:
    """Zero the values `[C, H]` of a tile from `num_written` on: 0 * NaN would be NaN.

    Args:
        share: which of two warpgroups this is, each of which clears half; None clears all.
    """
    for index, (token, column, rows, columns) in enumerate(parts_of(v_ref.shape)):

        @pl.when(True if share is None else share == index % 2)
        def clear(
            token: int = token, column: int = column, rows: int = rows, columns: int = columns
        ) -> None:
            is_written = ops.iota(columns, 0) + token < num_written
            part = v_ref.at[pl.ds(token, rows), pl.ds(column, columns)]
            values = ops.load(part)
            part[...] = jnp.where(is_written, values, jnp.zeros_like(values))

    plgpu.commit_smem()
