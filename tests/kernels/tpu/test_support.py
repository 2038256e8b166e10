"""What is left to XLA is said in a sentence."""

from __future__ import annotations

from typing import Any

import pytest

from pallas_kernels.paged_attention import tpu

GOOD: dict[str, Any] = {
    "num_heads": 32,
    "num_kv_heads": 8,
    "head_dim": 128,
    "page_size": 64,
    "dtype": "bfloat16",
    "max_rows": 256,
    "max_pages_per_row": 512,
}


@pytest.mark.parametrize("head_dim", [64, 96, 128, 192, 256])
@pytest.mark.parametrize("kv_dtype", [None, "int8", "float8_e4m3fn"])
def test_common_shapes_are_supported(head_dim: int, kv_dtype: str | None) -> None:
    assert tpu.supports(**GOOD | {"head_dim": head_dim, "kv_dtype": kv_dtype}) is None


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"dtype": "float16"}, "float16"),
        ({"kv_dtype": "float16"}, "float16"),
        ({"num_heads": 20}, "share"),
        ({"num_heads": 256}, "more than 16"),
        ({"head_dim": 512}, "wider"),
        ({"page_size": 4}, "4 tokens"),
        ({"page_size": 1024}, "1024 tokens"),
        ({"max_pages_per_row": 2048}, "page table"),
    ],
)
def test_what_is_not_supported_is_named(change: dict[str, Any], word: str) -> None:
    assert word in (tpu.supports(**GOOD | change) or "")
