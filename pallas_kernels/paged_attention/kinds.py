"""Which attention runs where. Chosen once at start; the type of the pages carries the choice.

kind   pages                       attention
cpu    `PlainPages`                cpu.py
xla    `PlainPages`                reference.py, which XLA compiles for any device
gpu    `GPUPages`                  gpu/, Mosaic GPU kernels for Hopper
tpu    `TPUPages`                  tpu/, Mosaic TPU kernels
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax

from pallas_kernels.paged_attention import pages as plain

PLAIN_KINDS = ("cpu", "xla")
KINDS = (*PLAIN_KINDS, "gpu", "tpu")


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class GPUPages:
    """Pages of one layer as `gpu.make_kv_pages` lays them out.

    Attributes:
        dtype: of keys and values.
    """

    pages_N2KZH: jax.Array
    dtype: str = dataclasses.field(metadata={"static": True})


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TPUPages:
    """Pages of one layer as `tpu.make_kv_pages` lays them out.

    Attributes:
        words_NZWL: uint32.
        dtype: of keys and values.
        num_kv_heads: K on one device.
        is_interpreted: this machine has no TPU: the kernels run in Pallas' interpreter.
    """

    words_NZWL: jax.Array
    dtype: str = dataclasses.field(metadata={"static": True})
    num_kv_heads: int = dataclasses.field(metadata={"static": True})
    is_interpreted: bool = dataclasses.field(metadata={"static": True})


KVPages = plain.PlainPages | GPUPages | TPUPages
"""Keys and values of one layer, whatever the platform; a pytree of arrays with one layout."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class AttentionShape:
    """What a kernel must know to say whether it can serve a model.

    Attributes:
        num_heads: Q on one device.
        num_kv_heads: K on one device.
        head_dim: H.
        page_size: Z.
        dtype: of the model.
        kv_dtype: of its keys and values in pages.
        max_rows: rows of the largest step on one device.
        max_pages_per_row: columns of the page table.
    """

    num_heads: int
    num_kv_heads: int
    head_dim: int
    page_size: int
    dtype: str
    kv_dtype: str
    max_rows: int
    max_pages_per_row: int


@dataclasses.dataclass(frozen=True)
class Choice:
    """The kind of attention, and what the operator should know about it.

    Attributes:
        kind: one of `KINDS`.
        fallback: why XLA's plain attention serves a device that has kernels; None if it does not.
    """

    kind: str
    fallback: str | None = None


def choose(platform: str, shape: AttentionShape, device: Any = None) -> Choice:
    """The attention of a platform ("cpu", "gpu", "tpu") for a model."""
    if platform == "cpu":
        return Choice("cpu")
    if platform not in ("gpu", "tpu"):
        return Choice("xla", f"There are no attention kernels for {platform}.")
    refusal = _refusal(platform, shape, device)
    if refusal is None:
        return Choice(platform)
    return Choice("xla", f"{refusal} XLA's plain attention runs, which needs far more memory.")


def _refusal(platform: str, shape: AttentionShape, device: Any) -> str | None:
    if platform == "tpu":
        from pallas_kernels.paged_attention import tpu

        return tpu.supports(**dataclasses.asdict(shape))
    from pallas_kernels.paged_attention import gpu

    heads = (shape.num_heads, shape.num_kv_heads, shape.head_dim)
    return gpu.supports(*heads, shape.page_size, shape.dtype, shape.kv_dtype, device)


def make_kv_pages(  # noqa: PLR0917
    num_pages: int,
    page_size: int,
    num_kv_heads: int,
    head_dim: int,
    dtype: str,
    kind: str,
    *,
    num_shards: int = 1,
) -> KVPages:
    """Zeroed pages of one layer in the layout of `kind`.

    Args:
        num_kv_heads: K of the whole model.
        dtype: of keys and values: a key of `pages.STORED_AS`, 8-bit ones among them.
        num_shards: devices that share the heads.

    Raises:
        ValueError: `dtype` cannot be stored, or there is no such kind.
    """
    if kind not in KINDS:
        raise ValueError(f"no attention of kind {kind!r}; choose one of {KINDS}")
    if kind in PLAIN_KINDS:
        return plain.make_kv_pages(num_pages, page_size, num_kv_heads, head_dim, dtype)
    if kind == "gpu":
        from pallas_kernels.paged_attention import gpu

        shape = (num_pages, page_size, num_kv_heads, head_dim)
        return GPUPages(gpu.make_kv_pages(*shape, dtype), dtype)
    from pallas_kernels.paged_attention import tpu

    shape = (num_pages, page_size, num_kv_heads, head_dim)
    words = tpu.make_kv_pages(*shape, dtype, num_shards=num_shards)
    return TPUPages(words, dtype, num_kv_heads // num_shards, _is_interpreted())


def kv_page_bytes(page_size: int, num_kv_heads: int, head_dim: int, dtype: str, kind: str) -> int:
    """Bytes of one page of one layer on a device that has `num_kv_heads`, K and V together."""
    if kind != "tpu":
        return plain.kv_page_bytes(page_size, num_kv_heads, head_dim, dtype)
    from pallas_kernels.paged_attention import tpu

    return tpu.kv_page_bytes(page_size, num_kv_heads, head_dim, dtype)


def page_axes(kv: KVPages) -> tuple[str, ...]:
    """Names of the axes of every array of `kv`, as the models' table of sharding has them."""
    if isinstance(kv, GPUPages):
        return ("pages", "slots", "kv_heads", "slots", "head_dim")
    if isinstance(kv, TPUPages):
        return ("pages", "slots", "kv_heads", "head_dim")
    return ("pages", "slots", "kv_heads")


def _is_interpreted() -> bool:
    """No TPU here, and none described to compile for ahead of time."""
    described: Any = jax.sharding.get_abstract_mesh().abstract_device
    return described is None and jax.default_backend() != "tpu"
