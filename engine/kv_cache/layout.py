"""How big a page is, without jax: the same arithmetic as `pallas_kernels.paged_attention.pages`.

A page of one layer is two arrays, K and V, each `[Z, K*H]`: page_size tokens of all key/value
heads. Every platform stores pages alike until it has a kernel with a layout of its own; then
`page_shape` gets a row for it.
"""

from __future__ import annotations

import dataclasses

STORED_ITEM_BYTES: dict[str, int] = {"float32": 4, "bfloat16": 2, "float16": 2}
"""Dtype of a model to bytes of one stored number; 16-bit floats are kept as bits in uint16."""

PLATFORMS = ("cpu", "gpu", "cuda", "rocm", "tpu")


@dataclasses.dataclass(frozen=True, kw_only=True)
class PageLayout:
    """Pages of a whole model.

    Attributes:
        dtype: of the model: a key of `STORED_ITEM_BYTES`.
    """

    num_layers: int
    num_kv_heads: int
    head_dim: int
    page_size: int
    dtype: str

    def layer_page_bytes(self) -> int:
        """Bytes of one page of one layer, K and V together."""
        num_items = self.page_size * self.num_kv_heads * self.head_dim
        return 2 * num_items * stored_item_bytes(self.dtype)

    def page_bytes(self) -> int:
        """Bytes of one page in all layers."""
        return self.num_layers * self.layer_page_bytes()

    def page_shape(self, platform: str) -> tuple[int, ...]:
        """`[Z, K*H]`: K of one page of one layer, and the same for V.

        Raises:
            ValueError: no such platform.
        """
        if platform not in PLATFORMS:
            raise ValueError(f"no KV page layout for platform {platform!r}; known: {PLATFORMS}")
        return (self.page_size, self.num_kv_heads * self.head_dim)


def stored_item_bytes(dtype: str) -> int:
    """Bytes of one stored number of a model of `dtype`.

    Raises:
        ValueError: pages cannot hold that dtype.
    """
    if dtype not in STORED_ITEM_BYTES:
        raise ValueError(f"KV pages hold {[*STORED_ITEM_BYTES]}, not {dtype!r}")
    return STORED_ITEM_BYTES[dtype]
