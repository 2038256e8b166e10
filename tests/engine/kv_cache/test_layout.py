"""Bytes of a page, without jax."""

from __future__ import annotations

import pytest

from engine.kv_cache.layout import PageLayout
from pallas_kernels.paged_attention.pages import kv_page_bytes, make_kv_pages


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_bytes_agree_with_the_arrays_of_the_kernels(dtype: str) -> None:
    layout = PageLayout(num_layers=3, num_kv_heads=2, head_dim=8, page_size=4, dtype=dtype)
    assert layout.layer_page_bytes() == kv_page_bytes(4, 2, 8, dtype)
    pages = make_kv_pages(5, 4, 2, 8, dtype, "cpu")
    assert sum(array.nbytes for array in pages) == 5 * layout.layer_page_bytes()
    assert pages[0].shape[1:] == layout.page_shape("cpu")


def test_a_page_spans_all_layers() -> None:
    layout = PageLayout(num_layers=3, num_kv_heads=2, head_dim=8, page_size=4, dtype="bfloat16")
    assert layout.page_bytes() == 3 * 2 * 4 * 2 * 8 * 2


def test_an_unknown_dtype_or_platform_is_refused() -> None:
    layout = PageLayout(num_layers=1, num_kv_heads=1, head_dim=8, page_size=4, dtype="int3")
    with pytest.raises(ValueError, match="int3"):
        layout.page_bytes()
    with pytest.raises(ValueError, match="abacus"):
        layout.page_shape("abacus")
