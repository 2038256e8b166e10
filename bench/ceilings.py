"""What the device can do at best: bytes a second of a copy, FLOP/s of a matmul. Imports jax.

Every figure of `bench kernels` and `bench step` is a share of one of these, measured in the same
run. A copy counts bytes read and bytes written; both work on random numbers.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from bench.timing import spread, time_chain

COPY_BYTES = {"gpu": 2 << 30, "tpu": 1 << 30, "cpu": 256 << 20}
MATMUL_WIDTH = {"gpu": 8192, "tpu": 8192, "cpu": 2048}
QUICK = {"copy": 4 << 20, "width": 256}


def measure_ceilings(*, quick: bool) -> dict[str, Any]:
    """Both ceilings with how they were measured; `quick` takes sizes that mean nothing."""
    platform = jax.default_backend()
    num_bytes = QUICK["copy"] if quick else COPY_BYTES.get(platform, COPY_BYTES["gpu"])
    width = QUICK["width"] if quick else MATMUL_WIDTH.get(platform, MATMUL_WIDTH["gpu"])
    copies = {name: _copy(fn, num_bytes, quick) for name, fn in COPIES.items()}
    matmul = _matmul(width, quick)
    return {
        "copy_bytes_per_s": max(copy["bytes_per_s"] for copy in copies.values()),
        "matmul_flops_per_s": matmul["flops_per_s"],
        "copies": copies,
        "matmul": matmul,
        "note": "copies count bytes read and written; the better one is the ceiling",
    }


def _plain_copy(x: jax.Array) -> jax.Array:
    return jnp.copy(x)


def _negate(x: jax.Array) -> jax.Array:
    return -x


COPIES: dict[str, Callable[[jax.Array], jax.Array]] = {
    "copy": _plain_copy,
    "negate": _negate,
}
"""XLA's own copy, and a kernel that reads and writes every element once."""


def _copy(fn: Callable[[jax.Array], jax.Array], num_bytes: int, quick: bool) -> dict[str, Any]:
    x = jax.random.normal(jax.random.key(0), (num_bytes // 4,), jnp.float32)
    # Not donated: in place, a copy would be no copy.
    samples, _ = time_chain(jax.jit(fn), x, **_pace(quick))
    rate = 2 * num_bytes / statistics.median(samples)
    return {"array_bytes": num_bytes, "bytes_per_s": rate, **spread(samples)}


def _matmul(width: int, quick: bool) -> dict[str, Any]:
    def multiply(x: jax.Array, w: jax.Array) -> jax.Array:
        dimensions = (((1,), (1,)), ((), ()))  # weights as they are kept: [out, in]
        product = jax.lax.dot_general(x, w, dimensions, preferred_element_type=jnp.float32)
        return product.astype(jnp.bfloat16)

    x, w = (jax.random.normal(jax.random.key(seed), (width, width), jnp.float32) for seed in (1, 2))
    # Scaled so that product after product stays as large as it began.
    w = (w * width**-0.5).astype(jnp.bfloat16)
    compiled = jax.jit(multiply)

    def step(x: jax.Array) -> jax.Array:
        return compiled(x, w)

    samples, _ = time_chain(step, x.astype(jnp.bfloat16), **_pace(quick))
    rate = 2 * width**3 / statistics.median(samples)
    return {"width": width, "dtype": "bfloat16", "flops_per_s": rate, **spread(samples)}


def _pace(quick: bool) -> dict[str, Any]:
    return {"sample_s": 0.005, "repeats": 3} if quick else {}
