"""The one door to Mosaic GPU: what the kernels use of it, for the chip and for the interpreter.

Pallas' GPU interpreter knows no register layouts and no matmul with a left side in registers, and
it watches plain reads of shared memory for races but not those of its matmul. So kernels ask
`Ops` for everything that differs; on the chip that is a tensor-core instruction, in the
interpreter a `jnp.dot` over values that were read, and therefore watched.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu

from pallas_kernels.paged_attention.eight_bits import INT8_NAN

MATMUL_ROWS = 64
"""Rows of the tensor-core instruction of one warpgroup."""

LOAD_ROWS = 8
"""Loads into `matmul_operand` memory start at multiples of so many rows; see `loaded_from`."""

COLUMNS = 64
"""Columns that go through registers or a small piece of shared memory at a time."""

WARPGROUP_THREADS = 128

COPY_ENGINES = 16

Ref: TypeAlias = Any
"""A Pallas reference to global or shared memory; jax gives it no public type."""

Interpreter: TypeAlias = Any
"""None to compile for a GPU, or what `interpreter` returns."""


def interpreter(*, detect_races: bool = False) -> Interpreter:
    """Parameters that run a kernel in the CPU interpreter of Mosaic GPU.

    Loads are dealt out to many simulated copy engines: on a single one, each load would count as
    ordered after those before it, and waiting for the wrong one would pass for right.
    """
    from jax._src.pallas.mosaic_gpu.interpret.params import InterpretGPUParams

    engines = COPY_ENGINES if detect_races else 1
    return InterpretGPUParams(detect_races=detect_races, num_tma_threads_per_device=engines)


def races_found() -> bool:
    """Whether the last kernel interpreted with `detect_races` had a race."""
    from jax._src.pallas.mosaic_gpu.interpret import interpret_pallas_call

    return bool(interpret_pallas_call.get_races().races_found)


def reset_interpreter() -> None:
    """Forget the state of an interpreted kernel that raised."""
    from jax._src.pallas.mosaic_gpu.interpret import gpu_callbacks

    gpu_callbacks.reset_gpu_interpret_mode_state()


def matmul_operand(shape: tuple[int, ...], dtype: jax.typing.DTypeLike) -> Any:
    """Shared memory whose last two axes are laid out as the tensor cores read them.

    Swizzled in pieces of 128 bytes where the last axis divides into them, else of 64 or 32; never
    of more than `COLUMNS` numbers, which are read and written alone.
    """
    itemsize = jnp.dtype(dtype).itemsize
    swizzle = plgpu.find_swizzle(math.gcd(shape[-1], COLUMNS) * itemsize * 8)
    tiling = plgpu.TilingTransform((8, swizzle // itemsize))
    return plgpu.SMEM(shape, dtype, transforms=(tiling, plgpu.SwizzleTransform(swizzle)))


def loaded_from(row: jax.Array) -> jax.Array:
    """Where a load into `matmul_operand` memory really starts when asked to start at `row`.

    The chip copies whole tiles of `LOAD_ROWS` rows: between two of them it would fill in zeros
    and never say so (jax issue 34102). Asked through here, the interpreter is wrong as well.
    """
    return lax.div(row, jnp.int32(LOAD_ROWS)) * LOAD_ROWS


def parts_of(shape: tuple[int, int]) -> list[tuple[int, int, int, int]]:
    """Token, column, rows and columns of the parts in which a tile `[C, H]` goes through
    registers."""
    num_tokens, width = shape
    columns = math.gcd(width, COLUMNS)
    starts = itertools.product(range(0, num_tokens, MATMUL_ROWS), range(0, width, columns))
    return [(token, column, MATMUL_ROWS, columns) for token, column in starts]


@dataclasses.dataclass(frozen=True)
class Ops:
    """Operations on tiles in registers, M rows of one warpgroup.

    Attributes:
        is_interpreted: take the interpreter's form of each.
    """

    is_interpreted: bool

    def rows(self, value: jax.Array | float) -> jax.Array:
        """Float32 `[M]` of one value, laid out as the rows of a matmul's result."""
        return self._cast(
            jnp.full((MATMUL_ROWS,), value, jnp.float32), plgpu.Layout.WGMMA.reduce(1)
        )

    def zeros(self, width: int) -> jax.Array:
        """Float32 zeros `[M, width]`, laid out as a matmul's result."""
        return self._cast(jnp.zeros((MATMUL_ROWS, width), jnp.float32), plgpu.Layout.WGMMA)

    def iota(self, width: int, axis: int) -> jax.Array:
        """Int32 `[M, width]` counting along `axis`."""
        shape = (MATMUL_ROWS, width)
        if self.is_interpreted:
            return lax.broadcasted_iota(jnp.int32, shape, axis)
        return plgpu.broadcasted_iota(jnp.int32, shape, axis, layout=plgpu.Layout.WGMMA)

    def load(self, ref: Ref) -> jax.Array:
        """`[M, width]` of shared memory, laid out as a matmul's result."""
        return self._cast(ref[...], plgpu.Layout.WGMMA)

    def load_wide(self, ref: Ref) -> jax.Array:
        """Bfloat16 `[M, width]` of 8-bit numbers in shared memory, exact, laid out like `load`."""
        layout = plgpu.Layout.WGMMA_UPCAST_2X
        codes = ref[...] if self.is_interpreted else plgpu.load(ref, (), layout=layout)
        if codes.dtype == jnp.int8:
            wide = codes.astype(jnp.bfloat16)
            wide = jnp.where(wide == INT8_NAN, jnp.nan, wide)
        else:
            wide = codes.astype(jnp.float16).astype(jnp.float32).astype(jnp.bfloat16)
        return self._cast(wide, plgpu.Layout.WGMMA)

    def multiply_transposed(self, left_ref: Ref, right_ref: Ref) -> jax.Array:
        """Float32 `left [M, H] @ right [C, H]^T`, both in shared memory."""
        if self.is_interpreted:
            left, right = _read(left_ref), _read(right_ref)
            return jnp.dot(left, right.T, preferred_element_type=jnp.float32)

        def multiply(sum_ref: Ref) -> jax.Array:
            plgpu.wgmma(sum_ref, left_ref, right_ref.transpose((1, 0)))
            return sum_ref[...]

        sums = plgpu.WGMMAAccumulatorRef((left_ref.shape[0], right_ref.shape[0]), jnp.float32)
        return pl.run_scoped(multiply, sums)

    def add_product(self, sum_MH: jax.Array, left_MC: jax.Array, right_ref: Ref) -> jax.Array:
        """`sum + left @ right`: left in registers, right `[C, H]` in shared memory."""
        if self.is_interpreted:
            right = _read(right_ref)
            return sum_MH + jnp.dot(left_MC, right, preferred_element_type=jnp.float32)

        def add(sum_ref: Ref) -> None:
            plgpu.wgmma(sum_ref, left_MC, right_ref)

        start: Any = plgpu.WGMMAAccumulatorRef.init(sum_MH)
        return pl.run_state(add)(start)

    def strided(self, values: jax.Array) -> jax.Array:
        """`[X]` dealt out to the threads of a warpgroup, neighbours together."""
        return self._cast(values, _strided_layout(values.shape[0]))

    def strided_iota(self, size: int) -> jax.Array:
        """Int32 `[X]` counting up, dealt out like `strided`."""
        if self.is_interpreted:
            return lax.iota(jnp.int32, size)
        return plgpu.broadcasted_iota(jnp.int32, (size,), 0, layout=_strided_layout(size))

    def _cast(self, value: jax.Array, layout: Any) -> jax.Array:
        return value if self.is_interpreted else plgpu.layout_cast(value, layout)


def _read(ref: Ref) -> jax.Array:
    """Shared memory as the interpreter's matmul reads it.

    Tensor cores read it the way loads write it; for plain reads jax 0.11 wants the order between
    the two said, or the next load into the same place would count as a race.
    """
    values = ref[...]
    plgpu.commit_smem()
    return values


def _strided_layout(size: int) -> Any:
    vector = 4 if size % (4 * WARPGROUP_THREADS) == 0 else 1
    return plgpu.Layout.WG_STRIDED((size,), vec_size=vector)


def over_columns(row_M: jax.Array, width: int) -> jax.Array:
    """`[M]` repeated to `[M, width]`."""
    return lax.broadcast_in_dim(row_M, (row_M.shape[0], width), (0,))


def kernel_options(interpret: Interpreter) -> dict[str, Any]:
    """Arguments of `plgpu.kernel` that differ between the chip and the interpreter.

    The kernels name register layouts themselves: lane semantics, no longer the default in jax 0.11.
    """
    params = plgpu.CompilerParams(approx_math=True, lowering_semantics=plgpu.LoweringSemantics.Lane)
    options: dict[str, Any] = {"compiler_params": params}
    return options if interpret is None else {**options, "interpret": interpret}
