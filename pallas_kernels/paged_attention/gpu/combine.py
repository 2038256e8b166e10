"""Join the pieces of decode rows: one softmax out of the partial ones.

The pieces of a row are consecutive places of the work list and are joined in that order, always:
the sum has the same bits in every batch. A block joins a few query heads of one row.
"""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu

from pallas_kernels.paged_attention.gpu.mosaic import (
    WARPGROUP_THREADS,
    Interpreter,
    Ops,
    Ref,
    kernel_options,
)

LARGEST_CHUNK = 256
"""Elements of the heads of one block, two a thread. More would leave a long row that is alone in
its step to fewer blocks, fewer would make more blocks than run at once of many short rows."""

PLACES_AT_ONCE = 8
"""Pieces whose loads are in flight together."""


def combine(
    o_WKGH: jax.Array,
    max_WKM: jax.Array,
    sum_WKM: jax.Array,
    starts_R1: jax.Array,
    sinks_KG: jax.Array,
    *,
    group: int,
    interpret: Interpreter = None,
) -> jax.Array:
    """Attention of every row out of its pieces; zeros for rows without any.

    Args:
        o_WKGH, max_WKM, sum_WKM: what `decode.attend_splits` returns.
        starts_R1: row r has the pieces `[starts[r], starts[r + 1])`.
        sinks_KG: float32 sinks in log2, `softmax.LOWEST` for none; the group padded as in `o`.
        group: query heads of a KV head before padding to `stored_group`.

    Returns:
        bfloat16 `[R, K, group, H]`.
    """
    num_places, num_kv_heads, num_stored, head_dim = o_WKGH.shape
    num_rows = starts_R1.shape[0] - 1
    heads = _heads_of_a_block(group, head_dim)
    body = functools.partial(
        _combine_kernel, ops=Ops(interpret is not None), heads=heads, head_dim=head_dim
    )
    body.__name__ = "decode_combine"  # pyright: ignore[reportAttributeAccessIssue]
    shape = (num_rows, num_kv_heads, num_stored * head_dim)
    call = plgpu.kernel(
        body,
        out_type=jax.ShapeDtypeStruct(shape, jnp.bfloat16),
        grid=(num_rows, num_kv_heads, num_stored // heads),
        grid_names=("row", "head", "chunk"),
        num_threads=1,
        thread_name="warpgroup",
        **kernel_options(interpret),
    )
    o_WKX = o_WKGH.reshape(num_places, num_kv_heads, num_stored * head_dim)
    o_RKX = call(o_WKX, max_WKM, sum_WKM, starts_R1, sinks_KG)
    return o_RKX.reshape(num_rows, num_kv_heads, -1, head_dim)[:, :, :group]


def stored_group(group: int, head_dim: int) -> int:
    """Query heads of a KV head that pieces have places for: whole blocks of them."""
    heads = _heads_of_a_block(group, head_dim)
    return -(-group // heads) * heads


def _heads_of_a_block(group: int, head_dim: int) -> int:
    """Query heads whose elements divide evenly over the threads, at most LARGEST_CHUNK of them.

    A divisor of the group if there is one: then nothing is computed for its padding.
    """
    fewest = WARPGROUP_THREADS // math.gcd(head_dim, WARPGROUP_THREADS)
    most = max(LARGEST_CHUNK // head_dim, fewest)
    dividing = [n for n in range(fewest, most + 1, fewest) if group % n == 0]
    return max(dividing, default=fewest)


def _combine_kernel(  # noqa: PLR0917
    o_ref: Ref,
    max_ref: Ref,
    sum_ref: Ref,
    starts_ref: Ref,
    sinks_ref: Ref,
    out_ref: Ref,
    *,
    ops: Ops,
    heads: int,
    head_dim: int,
) -> None:
    row, head, chunk = (lax.axis_index(name) for name in ("row", "head", "chunk"))
    size = heads * head_dim
    first, end = starts_ref[row], starts_ref[row + 1]
    elements = pl.ds(chunk * size, size)
    element_X = ops.strided_iota(size)

    def per_element(values: list[jax.Array]) -> jax.Array:
        """One number a query head, repeated over the elements of each."""
        spread_X = ops.strided(jnp.full((size,), values[0], jnp.float32))
        for index, value in enumerate(values[1:], start=1):
            spread_X = jnp.where(element_X >= index * head_dim, value, spread_X)
        return spread_X

    def join(
        step: jax.Array, state: tuple[list[jax.Array], list[jax.Array], jax.Array]
    ) -> tuple[list[jax.Array], list[jax.Array], jax.Array]:
        maxima, sums, o_X = state
        pieces = [_Piece(first + step * PLACES_AT_ONCE + i, end) for i in range(PLACES_AT_ONCE)]
        o_pieces = [ops.strided(o_ref[piece.place, head, elements]) for piece in pieces]
        new_maxima, new_sums, keep, weights = [], [], [], []
        for index in range(heads):
            where = (head, chunk * heads + index)
            piece_maxima = [piece.read(max_ref, where, -jnp.inf) for piece in pieces]
            piece_sums = [piece.read(sum_ref, where, 0.0) for piece in pieces]
            new_max = functools.reduce(jnp.maximum, piece_maxima, maxima[index])
            keep.append(jnp.exp2(maxima[index] - new_max))
            weights.append([jnp.exp2(piece_max - new_max) for piece_max in piece_maxima])
            new_maxima.append(new_max)
            gained = zip(weights[index], piece_sums, strict=True)
            new_sums.append(sum((w * s for w, s in gained), sums[index] * keep[index]))
        o_X = o_X * per_element(keep)
        for i, (piece, o_piece) in enumerate(zip(pieces, o_pieces, strict=True)):
            weight_X = per_element([of_head[i] for of_head in weights])
            # A place past the end is another row's or was never written: weight 0, but 0 * NaN.
            o_X = o_X + jnp.where(piece.is_own, weight_X * o_piece, jnp.zeros_like(o_X))
        return new_maxima, new_sums, o_X

    start = (
        [sinks_ref[head, chunk * heads + index] for index in range(heads)],
        [jnp.float32(1.0)] * heads,
        ops.strided(jnp.zeros((size,), jnp.float32)),
    )
    num_steps = lax.div(end - first + PLACES_AT_ONCE - 1, jnp.int32(PLACES_AT_ONCE))
    _, sums, o_X = lax.fori_loop(0, num_steps, join, start)
    out_ref.at[row, head, elements][...] = (o_X / per_element(sums)).astype(out_ref.dtype)


class _Piece:
    """One place of the work list, or past the end a stand-in for none."""

    def __init__(self, place: jax.Array, end: jax.Array) -> None:
        self.is_own = place < end
        self.place = jnp.minimum(place, end - 1)

    def read(self, ref: Ref, where: tuple[jax.Array, jax.Array], otherwise: float) -> jax.Array:
        """A number of this piece."""
        return jnp.where(self.is_own, ref[self.place, *where], jnp.float32(otherwise))
