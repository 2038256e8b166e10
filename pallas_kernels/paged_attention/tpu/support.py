"""What the TPU kernel can do, asked once at start."""

from __future__ import annotations

from pallas_kernels.paged_attention.tpu.layout import BITS

MAX_GROUP = 16
MAX_HEAD_DIM = 256
MIN_PAGE_SIZE, MAX_PAGE_SIZE = 8, 256
MAX_TABLE_BYTES = 768 << 10
"""Of the page table, which lies in scalar memory (1 MB on v5e and v6e) as a whole."""


def supports(
    *,
    num_heads: int,
    num_kv_heads: int,
    head_dim: int,
    page_size: int,
    dtype: str,
    kv_dtype: str | None = None,
    max_rows: int = 1,
    max_pages_per_row: int = 1,
) -> str | None:
    """None if the kernel runs this shape, else a sentence for the log: XLA computes it then.

    Args:
        num_heads: Q on one device.
        num_kv_heads: K on one device.
        head_dim: H.
        page_size: Z.
        dtype: of the model.
        kv_dtype: of the pages; None for that of the model.
        max_rows: rows of the largest step.
        max_pages_per_row: columns of the page table.
    """
    stored = kv_dtype or dtype
    table_bytes = 4 * max_rows * max_pages_per_row
    refusals = (
        (dtype not in ("bfloat16", "float32"), f"queries of dtype {dtype} are not supported"),
        (stored not in BITS, f"pages of dtype {stored} are not supported"),
        (num_heads % num_kv_heads != 0, f"{num_heads} heads do not share {num_kv_heads} KV heads"),
        (
            num_heads > MAX_GROUP * num_kv_heads,
            f"more than {MAX_GROUP} query heads share a KV head",
        ),
        (head_dim > MAX_HEAD_DIM, f"heads are wider than {MAX_HEAD_DIM}"),
        (
            not MIN_PAGE_SIZE <= page_size <= MAX_PAGE_SIZE,
            f"pages hold {page_size} tokens, not {MIN_PAGE_SIZE} to {MAX_PAGE_SIZE}",
        ),
        (
            table_bytes > MAX_TABLE_BYTES,
            f"a page table of {table_bytes} bytes does not fit scalar memory "
            f"({MAX_TABLE_BYTES}); choose larger pages or fewer sequences",
        ),
    )
    reason = next((reason for is_refused, reason in refusals if is_refused), None)
    return reason and f"The TPU attention kernel cannot run here: {reason}."
