from __future__ import annotations

from engine.runner.environment import engine_environment


def test_the_operators_own_setting_wins() -> None:
    added = engine_environment("cpu", {"GLIBC_TUNABLES": "mine", "JAX_PLATFORMS": "tpu"})
    assert "GLIBC_TUNABLES" not in added
    assert "JAX_PLATFORMS" not in added


def test_large_buffers_use_huge_pages() -> None:
    assert engine_environment("", {})["GLIBC_TUNABLES"] == "glibc.malloc.hugetlb=1"


def test_no_platform_lets_jax_find_out() -> None:
    assert "JAX_PLATFORMS" not in engine_environment("", {})
    assert engine_environment("gpu", {})["JAX_PLATFORMS"] == "cuda"
