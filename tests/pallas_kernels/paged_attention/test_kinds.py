"""Which attention serves what, and the layouts of its pages."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import jax
import pytest

from pallas_kernels.paged_attention import (
    AttentionShape,
    choose,
    kv_page_bytes,
    make_kv_pages,
    page_axes,
)

LLAMA_8B = AttentionShape(
    num_heads=32,
    num_kv_heads=8,
    head_dim=128,
    page_size=64,
    dtype="bfloat16",
    kv_dtype="bfloat16",
    max_rows=256,
    max_pages_per_row=128,
)
HOPPER: Any = SimpleNamespace(compute_capability="9.0")
AMPERE: Any = SimpleNamespace(compute_capability="8.0")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "int8", "float8_e5m2"])
def test_bytes_of_plain_pages_are_those_of_the_arrays(dtype: str) -> None:
    pages = make_kv_pages(5, 4, 2, 8, dtype, "cpu")
    leaves = jax.tree.leaves(pages)
    assert sum(array.nbytes for array in leaves) == 5 * kv_page_bytes(4, 2, 8, dtype, "cpu")


@pytest.mark.parametrize("dtype", ["float8_e4m3fn", "int8"])
@pytest.mark.parametrize("kind", ["cpu", "xla", "gpu", "tpu"])
def test_8_bit_pages_are_half_as_large(kind: str, dtype: str) -> None:
    half = kv_page_bytes(64, 4, 128, dtype, kind)
    assert 2 * half == kv_page_bytes(64, 4, 128, "bfloat16", kind)
    pages = make_kv_pages(5, 64, 4, 128, dtype, kind)
    assert sum(leaf.nbytes for leaf in jax.tree.leaves(pages)) == 5 * half


@pytest.mark.parametrize("kind", ["cpu", "xla", "gpu", "tpu"])
def test_every_kind_knows_its_bytes_and_the_axes_of_its_pages(kind: str) -> None:
    pages = make_kv_pages(5, 64, 4, 128, "bfloat16", kind)
    leaves = jax.tree.leaves(pages)
    assert sum(leaf.nbytes for leaf in leaves) == 5 * kv_page_bytes(64, 4, 128, "bfloat16", kind)
    assert {leaf.ndim for leaf in leaves} == {len(page_axes(pages))}
    assert page_axes(pages).index("pages") == 0


def test_what_cannot_be_stored_is_refused() -> None:
    with pytest.raises(ValueError, match="int3"):
        make_kv_pages(1, 4, 1, 8, "int3", "cpu")
    with pytest.raises(ValueError, match="abacus"):
        make_kv_pages(1, 4, 1, 8, "bfloat16", "abacus")


@pytest.mark.parametrize(
    ("platform", "device", "kind"),
    [("cpu", None, "cpu"), ("gpu", HOPPER, "gpu"), ("tpu", None, "tpu")],
)
def test_each_platform_has_an_attention_of_its_own(platform: str, device: Any, kind: str) -> None:
    choice = choose(platform, LLAMA_8B, device)
    assert (choice.kind, choice.fallback) == (kind, None)


@pytest.mark.parametrize("kv_dtype", ["float8_e4m3fn", "float8_e5m2", "int8"])
@pytest.mark.parametrize(("platform", "device"), [("gpu", HOPPER), ("tpu", None)])
def test_the_kernels_serve_8_bit_pages(platform: str, device: Any, kv_dtype: str) -> None:
    shape = dataclasses.replace(LLAMA_8B, kv_dtype=kv_dtype)
    assert choose(platform, shape, device).kind == platform


@pytest.mark.parametrize(
    ("platform", "device", "changes", "reason"),
    [
        ("gpu", AMPERE, {}, "Hopper"),
        ("gpu", HOPPER, {"dtype": "float32"}, "float32"),
        ("gpu", HOPPER, {"head_dim": 80}, "80"),
        ("gpu", HOPPER, {"head_dim": 256, "kv_dtype": "int8"}, "8-bit"),
        ("gpu", HOPPER, {"kv_dtype": "float16"}, "float16"),
        ("tpu", None, {"max_pages_per_row": 4096}, "page table"),
        ("rocm", None, {}, "rocm"),
    ],
)
def test_what_the_kernels_cannot_do_falls_to_xla_and_says_why(
    platform: str, device: Any, changes: dict[str, Any], reason: str
) -> None:
    choice = choose(platform, dataclasses.replace(LLAMA_8B, **changes), device)
    assert choice.kind == "xla"
    assert choice.fallback is not None
    assert reason in choice.fallback
