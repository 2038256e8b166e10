"""What the kernels can do: asked once at start, the answer goes to the log."""

from __future__ import annotations

from typing import Any

from pallas_kernels.paged_attention.eight_bits import is_eight_bit

HEAD_DIMS = (64, 96, 128, 192, 256)
WIDEST_EIGHT_BIT_HEAD = 192
"""Wider ones need more registers than there are."""
PAGE_SIZES = (64, 128)
LARGEST_GROUP = 16
HOPPER = "9.0"


def supports(  # noqa: PLR0911, PLR0917
    num_heads: int,
    num_kv_heads: int,
    head_dim: int,
    page_size: int,
    dtype: str,
    kv_dtype: str = "bfloat16",
    device: Any = None,
) -> str | None:
    """None if the kernels can serve this shape, else a sentence that says why not.

    Args:
        dtype: of queries.
        kv_dtype: of keys and values in pages.
        device: the GPU, a `jax.Device`; None asks about the shape alone.
    """
    capability = getattr(device, "compute_capability", HOPPER)
    if str(capability) != HOPPER:
        return f"The attention kernels need a Hopper GPU (9.0), this one is {capability}."
    if dtype != "bfloat16" or not (kv_dtype == dtype or is_eight_bit(kv_dtype)):
        return (
            "The attention kernels compute in bfloat16 over pages of it or of 8 bits, not in "
            f"{dtype} over {kv_dtype}."
        )
    if is_eight_bit(kv_dtype) and head_dim > WIDEST_EIGHT_BIT_HEAD:
        return (
            f"The attention kernels read 8-bit pages of heads up to {WIDEST_EIGHT_BIT_HEAD} wide, "
            f"the model's are {head_dim} wide."
        )
    if head_dim not in HEAD_DIMS:
        return f"The attention kernels know heads of {HEAD_DIMS}, the model's are {head_dim} wide."
    if page_size not in PAGE_SIZES:
        return f"The attention kernels know pages of {PAGE_SIZES} tokens, not of {page_size}."
    if num_heads % num_kv_heads or num_heads // num_kv_heads > LARGEST_GROUP:
        return (
            f"The attention kernels share a KV head among at most {LARGEST_GROUP} query heads; "
            f"the model has {num_heads} over {num_kv_heads}."
        )
    return None
