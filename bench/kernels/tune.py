"""Which sizes the GPU kernels run fastest with: candidates measured, the best as table rows."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterable, Sequence
from typing import Any

from bench.child import NotComparable
from bench.kernels.loads import HEADS, Load, decode, prefill

K = 1024
TUNED = (("llama-3.1-8b", 64), ("70b-tp8", 64), ("gemma-3-12b", 64), ("llama-3.1-8b", 128))
STAGES = (2, 3, 4, 5, 6)
SPLIT_TOKENS = (256, 512, 1024)
TILES = (64, 128)


def decode_loads(heads: str, page_size: int) -> tuple[Load, ...]:
    """What decode sizes are judged by."""
    return decode(64, 4 * K, heads, page_size), decode(1, 32 * K, heads, page_size)


def prefill_loads(heads: str, page_size: int) -> tuple[Load, ...]:
    """What prefill sizes are judged by."""
    return (prefill(8 * K, heads, page_size),)


def candidates(head_dim: int) -> Iterable[tuple[str, dict[str, int]]]:
    """("decode" | "prefill", sizes) of everything that fits shared memory."""
    for tile, stages, split in itertools.product(TILES, STAGES, SPLIT_TOKENS):
        if _fits(head_dim, tile, stages):
            yield "decode", {"decode_tile": tile, "decode_stages": stages, "split_tokens": split}
    for tile, stages in itertools.product(TILES, STAGES[:3]):
        if _fits(head_dim, tile, stages):
            yield "prefill", {"prefill_tile": tile, "prefill_stages": stages}


def _fits(head_dim: int, tile: int, stages: int) -> bool:
    from pallas_kernels.paged_attention.gpu.tuning import (
        ELEMENT_BYTES,
        MATMUL_ROWS,
        SHARED_BYTES,
        STAGED_BYTES,
    )

    queries = 2 * MATMUL_ROWS * head_dim * ELEMENT_BYTES
    return 2 * stages * tile * head_dim * ELEMENT_BYTES + queries + STAGED_BYTES <= SHARED_BYTES


def measure_sizes(load: Load, sizes: dict[str, int]) -> dict[str, Any]:
    """Time of attention with other sizes than the table's.

    Raises:
        NotComparable: this device does not run the GPU kernels.
        NotEqual: with these sizes the kernel is wrong.
    """
    from bench.kernels.attention import measure_attention
    from bench.kernels.world import choose_kind
    from pallas_kernels.paged_attention.gpu.tuning import TABLE, tuning

    if choose_kind(load).kind != "gpu":
        raise NotComparable("only the GPU kernels have sizes to tune here")
    heads = HEADS[load.heads]
    group = heads.num_heads // heads.num_kv_heads
    key = (heads.head_dim, group, load.page_size, heads.num_kv_heads)
    known = dict(TABLE)
    TABLE[key] = dataclasses.replace(tuning(*key), **sizes)
    try:
        return measure_attention(load, "chosen", quick=False)
    finally:
        TABLE.clear()
        TABLE.update(known)


def best_rows(records: Sequence[dict[str, Any]]) -> list[str]:
    """Rows for `TABLE` of `paged_attention/gpu/tuning.py`, of shapes measured in both kernels."""
    rows: list[str] = []
    for heads, page_size in TUNED:
        of_decode = _best(records, decode_loads(heads, page_size), "decode_tile")
        of_prefill = _best(records, prefill_loads(heads, page_size), "prefill_tile")
        if of_decode and of_prefill:
            rows.append(_row(heads, page_size, of_decode | of_prefill))
    return rows


def _row(heads: str, page_size: int, sizes: dict[str, int]) -> str:
    shape = HEADS[heads]
    group = shape.num_heads // shape.num_kv_heads
    key = (shape.head_dim, group, page_size, shape.num_kv_heads)
    order = ("decode_tile", "decode_stages", "prefill_tile", "prefill_stages", "split_tokens")
    values = ", ".join(str(sizes[name]) for name in order)
    return f"{key}: Tuning({values}),  # {heads}"


def _best(
    records: Sequence[dict[str, Any]], loads: tuple[Load, ...], parameter: str
) -> dict[str, int]:
    """Sizes with the least geometric mean of time over all loads; empty if none has them all."""
    times: dict[tuple[tuple[str, int], ...], list[float]] = {}
    for record in records:
        case = record.get("case", {})
        is_timed = record["status"] == "measured" and parameter in case.get("sizes", {})
        if is_timed and Load.from_json(case["load"]) in loads:
            times.setdefault(tuple(case["sizes"].items()), []).append(record["median_us"])
    products = {
        sizes: math.prod(measured)
        for sizes, measured in times.items()
        if len(measured) == len(loads)
    }
    return dict(min(products, key=lambda sizes: products[sizes])) if products else {}
