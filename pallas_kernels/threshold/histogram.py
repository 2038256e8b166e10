"""A histogram in shared memory whose bins are chosen by data: the one thing Pallas cannot say.

`bin x 32 columns`, a column for each lane of a warp: two lanes never meet in one word nor in one
bank, whatever the data, so a row of equal keys is as fast as any. Lanes of different warps share
a column, so adding is atomic. Sums of integers do not depend on the order of additions.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental.pallas import mosaic_gpu as plgpu

from pallas_kernels.paged_attention.gpu.mosaic import WARPGROUP_THREADS, Ref

DIGIT_BITS = 8
NUM_BINS = 1 << DIGIT_BITS
COLUMNS = 32
SIZE = NUM_BINS * COLUMNS

_ADD_UNLESS_ZERO = (
    "{ .reg .pred counts; setp.ne.s32 counts, $1, 0;"
    " @counts red.shared::cta.relaxed.cta.add.u32 [$0], $1; }"
)


@dataclasses.dataclass(frozen=True)
class Histogram:
    """Operations on int32 `[SIZE]` of shared memory, by one warpgroup.

    Attributes:
        tile_shape: of the arrays added at once.
        is_interpreted: take the interpreter's form of each; it knows no PTX.
    """

    tile_shape: tuple[int, int]
    is_interpreted: bool

    def clear(self, ref: Ref) -> None:
        """All bins to 0."""
        ref[...] = self._dealt_out(jnp.zeros((SIZE,), jnp.int32), _layout((SIZE,)))

    def add(self, ref: Ref, digit_CL: jax.Array, weight_CL: jax.Array) -> None:
        """Add each weight to the bin of its digit; digits of weight 0 may be anything."""
        if self.is_interpreted:
            digit_X1C = digit_CL.reshape(-1, 1, COLUMNS)
            is_own = digit_X1C == lax.broadcasted_iota(jnp.int32, (1, NUM_BINS, 1), 1)
            added = jnp.where(is_own, weight_CL.reshape(-1, 1, COLUMNS), 0)
            ref[...] += jnp.sum(added, axis=0, dtype=jnp.int32).reshape(SIZE)
            return
        layout = _layout(self.tile_shape)
        add = plgpu.inline_mgpu(arg_types=(plgpu.RefType(), layout, layout))(_add_on_chip)
        add(ref, digit_CL, weight_CL)

    def choose(self, ref: Ref, target: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The largest digit such that it and those above weigh at least `target`, else 0.

        Returns:
            The digit, and the weight of the digits above it.
        """
        plgpu.commit_smem()  # all threads have added
        weight_X = self._dealt_out(ref[...], _layout((SIZE,)))
        place_X = self._dealt_out(lax.iota(jnp.int32, SIZE), _layout((SIZE,)))
        digit, weight_above = jnp.int32(0), jnp.int32(0)
        for bit in reversed(range(DIGIT_BITS)):
            candidate = digit + (1 << bit)
            above_X = jnp.where(place_X >= candidate * COLUMNS, weight_X, 0)
            weight = jnp.sum(above_X, dtype=jnp.int32)
            fits = weight >= target
            digit = jnp.where(fits, candidate, digit)
            weight_above = jnp.where(fits, weight_above, weight)
        return digit, weight_above

    def tile(self, values: jax.Array) -> jax.Array:
        """`values` of the shape of a tile, dealt out to the threads as `add` wants them."""
        return self._dealt_out(values, _layout(self.tile_shape))

    def line_of_tile(self) -> jax.Array:
        """Int32 of the shape of a tile: the line of each element."""
        return self.tile(lax.broadcasted_iota(jnp.int32, self.tile_shape, 0))

    def _dealt_out(self, values: jax.Array, layout: Any) -> jax.Array:
        return values if self.is_interpreted else plgpu.layout_cast(values, layout)


def _layout(shape: tuple[int, ...]) -> Any:
    vector = 4 if int(np.prod(shape)) % (4 * WARPGROUP_THREADS) == 0 else 1
    return plgpu.Layout.WG_STRIDED(shape, vec_size=vector)


def _add_on_chip(_: Any, ref: Any, digit: Any, weight: Any) -> None:
    """One predicated atomic addition an element; an element of weight 0 costs no memory access."""
    from jax.experimental.mosaic.gpu import utils
    from jaxlib.mlir import ir
    from jaxlib.mlir.dialects import arith, llvm, vector

    i32 = ir.IntegerType.get_signless(32)
    nothing = ir.Type.parse("!llvm.void")

    def times(value: Any, factor: int) -> Any:
        return arith.muli(value, arith.constant(i32, factor))

    def element(values: Any, index: int) -> Any:
        return vector.extract(values, [], ir.DenseI64ArrayAttr.get([index]))

    lane = arith.remui(utils.thread_idx(), arith.constant(i32, COLUMNS))
    start = llvm.ptrtoint(i32, utils.memref_ptr(ref))
    column = arith.addi(start, times(lane, 4))
    for digits, weights in zip(digit.registers.flat, weight.registers.flat, strict=True):
        for index in range(ir.VectorType(digits.type).shape[0]):
            bin_start = arith.addi(column, times(element(digits, index), 4 * COLUMNS))
            llvm.inline_asm(
                nothing,
                [bin_start, element(weights, index)],
                _ADD_UNLESS_ZERO,
                "r,r",
                has_side_effects=True,
            )
