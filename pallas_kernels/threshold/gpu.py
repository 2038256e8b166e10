"""The cut of every row by a radix histogram, in Mosaic GPU: four passes, a digit of 8 bits each.

A block takes one row. As many of its tiles as fit stay in shared memory for all passes; the others
stream through a ring in each. docs/kernels_gpu.md has the picture.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu

from pallas_kernels.paged_attention.gpu.mosaic import Interpreter, Ref, kernel_options
from pallas_kernels.threshold.histogram import DIGIT_BITS, NUM_BINS, SIZE, Histogram
from pallas_kernels.threshold.tiling import Tiling, tiling_of

NUM_PASSES = 32 // DIGIT_BITS


def largest_cut(
    key_RV: jax.Array,
    target_R: jax.Array,
    scale_R: jax.Array | None = None,
    *,
    tiling: Tiling | None = None,
    interpret: Interpreter = None,
) -> jax.Array:
    """See `reference.largest_cut`, the specification.

    Args:
        tiling: of rows of V keys; None takes what fits a Hopper GPU.
        interpret: `mosaic.interpreter(...)` runs the kernel on a CPU.
    """
    num_rows, vocab_size = key_RV.shape
    tiling = tiling or tiling_of(vocab_size)
    search = _Search(
        tiling,
        Histogram((tiling.tile_lines, tiling.line), is_interpreted=interpret is not None),
        is_counting=scale_R is None,
    )
    if scale_R is None:
        scale_R = jnp.zeros((num_rows,), jnp.float32)
    # Keys at the lowest cut are above no other.
    padding = ((0, 0), (0, tiling.num_keys - vocab_size))
    key_RV = jnp.pad(key_RV, padding, constant_values=search.lowest)
    body = functools.partial(_cut_kernel, search=search)
    body.__name__ = "threshold_cut"  # pyright: ignore[reportAttributeAccessIssue]
    num_slots = tiling.resident_slots + tiling.ring_slots
    call = plgpu.kernel(
        body,
        out_type=jax.ShapeDtypeStruct((num_rows,), jnp.int32),
        scratch_types=[
            plgpu.SMEM((num_slots, tiling.tile_lines, tiling.line), jnp.int32),
            plgpu.Barrier(num_barriers=num_slots),
            plgpu.SMEM((SIZE,), jnp.int32),
        ],
        grid=(num_rows,),
        grid_names=("row",),
        **kernel_options(interpret),
    )
    return call(key_RV.reshape(num_rows, tiling.lines, tiling.line), target_R, scale_R)


class _Search(NamedTuple):
    """What is static of a search."""

    tiling: Tiling
    histogram: Histogram
    is_counting: bool

    @property
    def lowest(self) -> int:
        """The cut below which no key lies."""
        return -(2**31) if self.is_counting else 0

    def weigh(self, key_CL: jax.Array, scale: jax.Array) -> jax.Array:
        """Weights as `reference.weigh` has them."""
        if self.is_counting:
            return self.histogram.tile(jnp.full(key_CL.shape, 1, jnp.int32))
        return (lax.bitcast_convert_type(key_CL, jnp.float32) * scale).astype(jnp.int32)


class _Refs(NamedTuple):
    """Arguments, result and scratch of the kernel, in the order Pallas passes them.

    `landed[s]` completes when a load into slot s has landed.
    """

    keys: Ref
    target: Ref
    scale: Ref
    cut: Ref
    slots: Ref
    landed: Ref
    bins: Ref


def _cut_kernel(*all_refs: Ref, search: _Search) -> None:
    refs = _Refs(*all_refs)
    row = lax.axis_index("row")
    is_asked_for = refs.target[row] > 0

    @pl.when(is_asked_for)
    def find() -> None:
        refs.cut[row] = _find(refs, row, search)

    @pl.when(jnp.logical_not(is_asked_for))
    def keep_all() -> None:
        refs.cut[row] = jnp.int32(search.lowest)


def _find(refs: _Refs, row: jax.Array, search: _Search) -> jax.Array:
    """The cut of one row, digit by digit from the top."""
    tiling = search.tiling
    load = functools.partial(_load, refs.keys.at[row], refs, tiling)

    def load_first(slot: jax.Array, _: None) -> None:
        is_resident = slot < tiling.resident_slots
        stage = slot - tiling.resident_slots
        load(jnp.where(is_resident, tiling.streamed + slot, stage), slot)

    lax.fori_loop(0, tiling.resident_slots + tiling.ring_slots, load_first, None)

    def next_digit(
        number: jax.Array, state: tuple[jax.Array, jax.Array]
    ) -> tuple[jax.Array, jax.Array]:
        cut, target = state
        shift = (NUM_PASSES - 1 - number) * DIGIT_BITS
        search.histogram.clear(refs.bins)
        add = functools.partial(_add_tile, refs, search, cut, shift, refs.scale[row])
        _add_resident(refs, tiling, number, add)
        _add_streamed(refs, tiling, number, add, load)
        digit, weight_above = search.histogram.choose(refs.bins, target)
        return cut + lax.shift_left(digit, shift), target - weight_above

    start = (jnp.int32(search.lowest), refs.target[row])
    return lax.fori_loop(0, NUM_PASSES, next_digit, start)[0]


def _load(row_ref: Ref, refs: _Refs, tiling: Tiling, tile: Any, slot: Any) -> None:
    """Load a tile into a slot. Mosaic lets all threads finish reading the slot before."""
    first = jnp.minimum(tile * tiling.tile_lines, tiling.lines - tiling.tile_lines)
    source = row_ref.at[pl.ds(first, tiling.tile_lines)]
    plgpu.copy_gmem_to_smem(source, refs.slots.at[slot], refs.landed.at[slot])


def _add_resident(refs: _Refs, tiling: Tiling, number: jax.Array, add: Any) -> None:
    """Tiles that the first pass waits for and all passes find in place."""

    def add_slot(slot: Any, _: None, **options: int) -> None:
        @pl.when(number == 0)
        def wait() -> None:
            plgpu.barrier_wait(refs.landed.at[slot])

        add(slot, **options)

    last = tiling.resident_slots - 1
    lax.fori_loop(0, last, add_slot, None)
    add_slot(last, None, shared_lines=tiling.shared_lines)


def _add_streamed(refs: _Refs, tiling: Tiling, number: jax.Array, add: Any, load: Any) -> None:
    """Tiles that every pass loads: the next of the ring's are on their way meanwhile."""

    def add_tile(tile: jax.Array, _: None) -> None:
        count = number * tiling.streamed + tile
        slot = tiling.resident_slots + lax.rem(count, jnp.int32(tiling.ring_slots))
        plgpu.barrier_wait(refs.landed.at[slot])
        add(slot)
        following = count + tiling.ring_slots

        @pl.when(following < NUM_PASSES * tiling.streamed)
        def load_following() -> None:
            load(lax.rem(following, jnp.int32(tiling.streamed)), slot)

    if tiling.streamed:
        lax.fori_loop(0, tiling.streamed, add_tile, None)


def _add_tile(  # noqa: PLR0917
    refs: _Refs,
    search: _Search,
    cut: jax.Array,
    shift: jax.Array,
    scale: jax.Array,
    slot: Any,
    *,
    shared_lines: int = 0,
) -> None:
    """Weigh the keys of a tile that agree with the cut in all digits above this one."""
    key_CL = search.histogram.tile(refs.slots[slot])
    # Keys below the cut wrap round to large differences.
    digit_CL = lax.shift_right_logical(key_CL - cut, shift)
    is_in_CL = (digit_CL & ~(NUM_BINS - 1)) == 0
    if shared_lines:
        is_in_CL &= search.histogram.line_of_tile() >= shared_lines
    weight_CL = jnp.where(is_in_CL, search.weigh(key_CL, scale), 0)
    search.histogram.add(refs.bins, digit_CL, weight_CL)
