"""One layer's write and attention at the shapes of real models, compiled by the rig."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from rig_tpu import Compiled, compile_for_tpu

from pallas_kernels.paged_attention import tpu
from pallas_kernels.paged_attention.batch import RaggedBatch

NUM_PAGES = 4096
PAGE_SIZE = 64


@dataclasses.dataclass(frozen=True)
class Shape:
    """Heads of a model on one device and how it keeps its pages."""

    num_heads: int
    num_kv_heads: int
    head_dim: int
    kv_dtype: str = "bfloat16"
    dtype: str = "bfloat16"


@dataclasses.dataclass(frozen=True)
class Bucket:
    """Tokens and rows of a compiled step."""

    num_tokens: int
    num_rows: int
    pages_per_row: int = 64

    @property
    def is_decode(self) -> bool:
        """Whether every row has one token."""
        return self.num_tokens == self.num_rows


def batch_of(bucket: Bucket) -> RaggedBatch:
    """Shapes of the batch."""
    tokens, rows = bucket.num_tokens, bucket.num_rows
    shapes = ((tokens,), (tokens,), (tokens,), (rows + 1,), (rows,), (rows, bucket.pages_per_row))
    return RaggedBatch(*(jax.ShapeDtypeStruct(shape, jnp.int32) for shape in shapes))


def pages_of(shape: Shape) -> jax.ShapeDtypeStruct:
    """Shape of the pages of one layer."""
    sizes = (NUM_PAGES, PAGE_SIZE, shape.num_kv_heads, shape.head_dim, shape.kv_dtype)
    return jax.eval_shape(partial(tpu.make_kv_pages, *sizes))


def write_and_attend(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    kv: jax.Array,
    batch: RaggedBatch,
    **options: Any,
) -> tuple[jax.Array, jax.Array]:
    """As a layer calls them."""
    kv = tpu.write_kv(kv, k, v, batch, kv_dtype=options["kv_dtype"])
    return tpu.attend(q, kv, batch, num_kv_heads=k.shape[1], scale=0.1, **options), kv


def compile_step(shape: Shape, bucket: Bucket, chip: str, **options: Any) -> Compiled:
    """Write and attention of one layer, pages donated."""

    def new(num_heads: int) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((bucket.num_tokens, num_heads, shape.head_dim), shape.dtype)

    step = partial(write_and_attend, is_decode=bucket.is_decode, kv_dtype=shape.kv_dtype, **options)
    arrays = (new(shape.num_heads), new(shape.num_kv_heads), new(shape.num_kv_heads))
    arguments = (*arrays, pages_of(shape), batch_of(bucket))
    return compile_for_tpu(step, *arguments, chip=chip, donate_argnums=(3,))


def temp_budget(shape: Shape, bucket: Bucket) -> int:
    """Bytes a step may use beside arguments and results: decode next to nothing; mixed steps the
    queries and outputs in the order of the kernel, twice, in the model's dtype.
    """
    if bucket.is_decode:
        return 1 << 20
    query_bytes = bucket.num_tokens * shape.num_heads * max(shape.head_dim, 128) * 4
    return 4 * query_bytes + (4 << 20)


def faults(compiled: Compiled, shape: Shape, bucket: Bucket) -> list[str]:
    """What is wrong with a compiled step; nothing, if it is as it must be."""
    kv = pages_of(shape)
    kv_bytes = kv.size * kv.dtype.itemsize
    checks = {
        "pages are not aliased": compiled.alias_bytes < kv_bytes,
        "something as large as the pages is copied": compiled.has_copy_of(kv.size),
        "temporaries are over budget": compiled.temp_bytes > temp_budget(shape, bucket),
        "XLA branches": compiled.has_conditional,
        "XLA loops without a known end": bool(compiled.unbounded_whiles),
        "not the kernels expected": compiled.num_kernels != (2 if bucket.is_decode else 3),
    }
    return [fault for fault, is_there in checks.items() if is_there]
