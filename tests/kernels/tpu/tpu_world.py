"""A tiny batch with pages full of NaN wherever no sequence owns them, and what must come out."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax._src.pallas.mosaic.interpret import interpret_pallas_call
from jax.experimental.pallas import tpu as pltpu

from pallas_kernels.paged_attention import pages, reference, tpu
from pallas_kernels.paged_attention.batch import RaggedBatch
from pallas_kernels.paged_attention.tpu.layout import Layout

DETECTING = pltpu.InterpretParams(detect_races=True)


@dataclasses.dataclass(frozen=True)
class World:
    """One step of one layer. `rows` are (tokens cached before, new tokens); the rest is shapes."""

    rows: tuple[tuple[int, int], ...]
    num_tokens: int = 0
    num_rows: int = 0
    num_heads: int = 4
    num_kv_heads: int = 2
    head_dim: int = 128
    page_size: int = 8
    pages_per_row: int = 4
    num_pages: int = 24
    dtype: str = "float32"
    seed: int = 0

    @property
    def batch(self) -> RaggedBatch:
        """The rows in order, padding last, pages in no order."""
        free_pages = [*self.random.permutation(np.arange(1, self.num_pages))]
        num_rows = self.num_rows or len(self.rows)
        table = np.zeros((num_rows, self.pages_per_row), np.int32)
        positions, row_of, starts, lens = [], [], [0], []
        for row, (cached, new) in enumerate(self.rows):
            positions += range(cached, cached + new)
            row_of += [row] * new
            starts.append(starts[-1] + new)
            lens.append(cached + new)
            for column in range(-(-(cached + new) // self.page_size)):
                table[row, column] = free_pages.pop()
        missing_rows = num_rows - len(self.rows)
        missing = max(self.num_tokens, 1) - len(positions) if self.num_tokens else 0
        arrays = (
            [0] * (len(positions) + missing),
            positions + [-1] * missing,
            row_of + [0] * missing,
            starts + starts[-1:] * missing_rows,
            lens + [0] * missing_rows,
            table,
        )
        return RaggedBatch(*(jnp.asarray(np.array(array, np.int32)) for array in arrays))

    @property
    def random(self) -> np.random.Generator:
        """Fresh and the same every time."""
        return np.random.default_rng(self.seed)

    def normal(self, name: str, *shape: int) -> np.ndarray:
        """Numbers that depend on `name`, rounded to the dtype of the model, as float32."""
        random = np.random.default_rng([self.seed, *name.encode()])
        numbers = jnp.asarray(random.standard_normal(shape), self.dtype)
        return np.array(numbers.astype(jnp.float32))

    @property
    def q_TQH(self) -> jax.Array:
        """Queries; those of padding are NaN."""
        positions = np.asarray(self.batch.positions_T)
        numbers = self.normal("q", len(positions), self.num_heads, self.head_dim)
        numbers[positions < 0] = np.nan
        return jnp.asarray(numbers, self.dtype)

    @property
    def dense_kv(self) -> tuple[np.ndarray, np.ndarray]:
        """Keys and values `[N, Z, K, H]` in float32, NaN wherever no row's token is."""
        shape = (self.num_pages, self.page_size, self.num_kv_heads, self.head_dim)
        k, v = self.normal("k", *shape), self.normal("v", *shape)
        owned = np.zeros(shape[:2], bool)
        table = np.asarray(self.batch.page_table_RP)
        for row, (cached, new) in enumerate(self.rows):
            for position in range(cached + new):
                page = table[row, position // self.page_size]
                owned[page, position % self.page_size] = True
        k[~owned] = v[~owned] = np.nan
        return k, v

    @property
    def step_kv(self) -> tuple[jax.Array, jax.Array]:
        """Keys and values of the step's own tokens, `[T, K, H]`; those of padding are NaN."""
        positions = np.asarray(self.batch.positions_T)
        shape = (len(positions), self.num_kv_heads, self.head_dim)
        pair = []
        for name in ("new k", "new v"):
            numbers = self.normal(name, *shape)
            numbers[positions < 0] = np.nan
            pair.append(jnp.asarray(numbers, self.dtype))
        return pair[0], pair[1]

    def words(self, kv_dtype: str | None = None) -> jax.Array:
        """The dense keys and values as TPU pages."""
        layout = Layout(self.num_kv_heads, self.head_dim, kv_dtype or self.dtype)
        flat = (self.num_pages * self.page_size, self.num_kv_heads, self.head_dim)
        k, v = (jnp.asarray(dense.reshape(flat), self.dtype) for dense in self.dense_kv)
        words = layout.pack(k, v)
        return words.reshape(self.num_pages, self.page_size, *words.shape[1:])

    @property
    def reference_pages(self) -> pages.PlainPages:
        """The dense keys and values as pages of the reference."""
        shape = (self.num_pages, self.page_size, -1)
        k, v = (jnp.asarray(dense.reshape(shape), self.dtype) for dense in self.dense_kv)
        stored = (pages.to_stored(dense, self.dtype) for dense in (k, v))
        return pages.PlainPages(*stored, self.dtype)

    def expected(self, **options: Any) -> np.ndarray:
        """What the reference computes."""
        options = {"scale": self.head_dim**-0.5, **options}
        attend = jax.jit(functools.partial(reference.attend, **options))
        return np.asarray(attend(self.q_TQH, self.reference_pages, self.batch))

    def attended(
        self,
        *,
        is_decode: bool,
        interpret: Any = DETECTING,
        kv: jax.Array | None = None,
        **options: Any,
    ) -> np.ndarray:
        """What the kernel computes in the interpreter."""
        options = {"scale": self.head_dim**-0.5, **options}

        def attend(q_TQH: jax.Array, kv: jax.Array, batch: RaggedBatch) -> jax.Array:
            return tpu.attend(
                q_TQH,
                kv,
                batch,
                num_kv_heads=self.num_kv_heads,
                is_decode=is_decode,
                interpret=interpret,
                **options,
            )

        words = self.words(options.get("kv_dtype")) if kv is None else kv
        return np.asarray(jax.jit(attend)(self.q_TQH, words, self.batch))


def has_raced() -> bool:
    """Whether the last interpreted kernel had a data race."""
    return interpret_pallas_call.races.races_found


def difference(left: np.ndarray, right: np.ndarray) -> float:
    """Largest absolute difference; NaN if either has one."""
    return float(np.max(np.abs(left - right)))
