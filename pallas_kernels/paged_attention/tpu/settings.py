"""What the attention kernel knows while it is compiled."""

from __future__ import annotations

import dataclasses

from pallas_kernels.paged_attention.tpu.layout import Layout


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is known while compiling.

    Attributes:
        layout: of the pages.
        group: queries of a wide head that are real.
        padded_group: rows they take in a decode block, a power of two of at least 8.
        tile: query tokens of a block.
        pages_per_chunk: pages copied together.
        strip_tokens: tokens of a chunk multiplied together.
        pages_per_row: P, columns of the page table.
        scale: multiplies the scores.
        window: positions a token sees, itself included; 0 for all.
        softcap: scores become `softcap * tanh(score / softcap)`; None for not.
        is_decode: each token of a block belongs to a row of its own.
        is_interpreted: runs in an interpreter, not on a chip.
    """

    layout: Layout
    group: int
    padded_group: int
    tile: int
    pages_per_chunk: int
    strip_tokens: int
    pages_per_row: int
    scale: float
    window: int
    softcap: float | None
    is_decode: bool
    is_interpreted: bool
