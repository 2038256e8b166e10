"""The whole attention of a layer, compiled for an H100: registers, memory, nothing that blocks."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import pytest
from rig_gpu import compile_for_h100

from pallas_kernels.paged_attention import gpu
from pallas_kernels.paged_attention.batch import RaggedBatch
from pallas_kernels.paged_attention.pages import KVScales

POOL_TOKENS = 4096 * 64
MAX_MODEL_LEN = 8192
TEMP_BUDGET = 64 * 2**20
"""Pieces of split rows (32 MiB and one a row), and queries padded to groups of 8."""


@dataclasses.dataclass(frozen=True)
class Attention:
    """Shape of one attention layer."""

    num_heads: int
    num_kv_heads: int
    head_dim: int
    page_size: int = 64
    kv_dtype: str = "bfloat16"

    @property
    def pages_shape(self):
        num_pages = POOL_TOKENS // self.page_size
        return (num_pages, 2, self.num_kv_heads, self.page_size, self.head_dim)

    def faults(self, num_tokens, num_rows, *, is_decode, **options):
        _, facts = self.compile(num_tokens, num_rows, is_decode=is_decode, **options)
        kv_bytes = 2 * POOL_TOKENS * self.num_kv_heads * self.head_dim
        kv_bytes *= jnp.dtype(self.kv_dtype).itemsize
        names = {kernel.name for kernel in facts.kernels}
        assert "decode_splits_mosaic_gpu_kernel" in names, "the decode kernel is not there"
        assert is_decode or "prefill_tiles_mosaic_gpu_kernel" in names
        return facts.faults(kv_shape=self.pages_shape, kv_bytes=kv_bytes, temp_budget=TEMP_BUDGET)

    def compile(self, num_tokens, num_rows, *, is_decode, is_donated=True, **options):
        """Write and attend of one layer, as the step does it."""

        def layer(pages, q, k, v, batch, sinks, scale_K):
            scales = None if self.kv_dtype == "bfloat16" else KVScales(scale_K, scale_K)
            pages = gpu.write_kv(pages, k, v, batch, scales)
            o_TQH = gpu.attend(
                q,
                pages,
                batch,
                scale=self.head_dim**-0.5,
                sinks_Q=sinks,
                scales=scales,
                is_decode=is_decode,
                **options,
            )
            return pages, o_TQH

        ints = [(num_tokens,)] * 3 + [(num_rows + 1,), (num_rows,)]
        ints.append((num_rows, MAX_MODEL_LEN // self.page_size))
        return compile_for_h100(
            layer,
            jax.ShapeDtypeStruct(self.pages_shape, self.kv_dtype),
            _bfloat16(num_tokens, self.num_heads, self.head_dim),
            *[_bfloat16(num_tokens, self.num_kv_heads, self.head_dim)] * 2,
            RaggedBatch(*(jax.ShapeDtypeStruct(shape, jnp.int32) for shape in ints)),
            jax.ShapeDtypeStruct((self.num_heads,), jnp.float32),
            jax.ShapeDtypeStruct((self.num_kv_heads,), jnp.float32),
            donate_argnums=(0,) if is_donated else (),
        )


def _bfloat16(*shape):
    return jax.ShapeDtypeStruct(shape, jnp.bfloat16)


LLAMA_8B = Attention(32, 8, 128)
SERVED = {
    "Llama-3.1-8B and Qwen3-8B": LLAMA_8B,
    "Gemma-3-12B": Attention(16, 8, 256),
    "70B split over 8": Attention(8, 1, 128),
}


@pytest.mark.parametrize("num_rows", [1, 8, 64, 256])
@pytest.mark.parametrize("model", SERVED)
def test_a_decode_step_is_fit_for_the_chip(model, num_rows):
    assert SERVED[model].faults(num_rows, num_rows, is_decode=True) == []


@pytest.mark.parametrize("model", SERVED)
def test_a_mixed_step_of_2048_tokens_is_fit_for_the_chip(model):
    assert SERVED[model].faults(2048, 64, is_decode=False) == []


@pytest.mark.parametrize(
    "attention",
    [
        Attention(16, 8, 256),
        Attention(32, 8, 128, page_size=128),
        Attention(12, 4, 96),
        Attention(32, 2, 192),
        Attention(8, 8, 64, page_size=128),
    ],
    ids=str,
)
def test_windows_soft_caps_and_other_heads_are_fit_for_the_chip(attention):
    faults = attention.faults(2048, 64, is_decode=False, window=1024, softcap=50.0)
    assert faults == []


@pytest.mark.parametrize(
    ("attention", "options"),
    [
        (Attention(32, 8, 128, kv_dtype="float8_e4m3fn"), {}),
        pytest.param(Attention(8, 1, 128, kv_dtype="float8_e5m2"), {}, marks=pytest.mark.slow),
        (Attention(32, 8, 128, kv_dtype="int8"), {"window": 1024, "softcap": 50.0}),
        (Attention(32, 2, 192, kv_dtype="float8_e4m3fn"), {}),
        pytest.param(Attention(12, 4, 96, kv_dtype="int8"), {}, marks=pytest.mark.slow),
        pytest.param(
            Attention(8, 8, 64, page_size=128, kv_dtype="float8_e4m3fn"),
            {},
            marks=pytest.mark.slow,
        ),
    ],
    ids=str,
)
def test_8_bit_pages_are_fit_for_the_chip(attention, options):
    assert attention.faults(2048, 64, is_decode=False, **options) == []
    assert attention.faults(64, 64, is_decode=True, **options) == []
