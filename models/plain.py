"""A decoder driven step by step without scheduler or sampler: the readable twin of the runner.

For tests, experiments and bench. It compiles whenever it meets a new bucket.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import numpy as np
import numpy.typing as npt
from flax import nnx

from models.decoder import Decoder
from pallas_kernels.paged_attention import KVPages, RaggedBatch, make_kv_pages

SMALLEST_BUCKET = 8


@dataclasses.dataclass(frozen=True, slots=True)
class PlainRow:
    """Tokens `[start, start + len(token_ids))` of one sequence, to be computed in one step.

    Attributes:
        page_ids: pages covering `[0, start + len(token_ids))`.
    """

    token_ids: Sequence[int]
    start: int
    page_ids: Sequence[int]


class PlainDriver:
    """Runs steps of chosen rows on pages that the caller hands out.

    `kind` is the attention (`pallas_kernels.paged_attention.kinds`); "" is the plain one.
    `kv_dtype` is that of keys and values in pages; "" is the decoder's.
    """

    def __init__(  # noqa: PLR0917
        self,
        decoder: Decoder,
        num_pages: int,
        page_size: int = 16,
        max_pages_per_row: int = 8,
        kind: str = "",
        kv_dtype: str = "",
    ) -> None:
        self.config = config = decoder.config
        self.page_size, self.max_pages_per_row = page_size, max_pages_per_row
        self.graph, self.weights = nnx.split(decoder)
        shape = (num_pages, page_size, config.num_kv_heads, config.head_dim)
        kind = kind or ("cpu" if jax.default_backend() == "cpu" else "xla")
        dtype = kv_dtype or str(decoder.embed.weight[...].dtype)
        self.kv = [make_kv_pages(*shape, dtype, kind) for _ in range(config.num_layers)]

    def step(
        self,
        rows: Sequence[PlainRow],
        *,
        is_decode: bool = False,
        num_tokens: int = SMALLEST_BUCKET,
        num_rows: int = SMALLEST_BUCKET,
    ) -> list[npt.NDArray[np.float32]]:
        """Compute the rows in one step and return their logits, `[tokens of the row, V]` each.

        Args:
            is_decode: use the decode variant; every row has one token.
            num_tokens, num_rows: smallest bucket to take; both grow to what the rows need.
        """
        num_rows = max(num_rows, _round_up(len(rows)))
        needed = _round_up(sum(len(row.token_ids) for row in rows))
        num_tokens = num_rows if is_decode else max(num_tokens, needed)
        batch = pack(rows, num_tokens, num_rows, self.max_pages_per_row)
        logits_TV, self.kv = _step(self.graph, is_decode, self.weights, batch, self.kv)
        ends = np.cumsum([len(row.token_ids) for row in rows])
        return np.split(np.asarray(logits_TV)[: ends[-1]], ends[:-1])


def pack(
    rows: Sequence[PlainRow], num_tokens: int, num_rows: int, max_pages_per_row: int
) -> RaggedBatch:
    """The rows as a ragged batch of `num_tokens` tokens and `num_rows` rows (numpy arrays)."""
    counts = [len(row.token_ids) for row in rows] + [0] * (num_rows - len(rows))
    starts = np.concatenate([[0], np.cumsum(counts)])
    token_ids, positions, row_of = (np.full(num_tokens, fill, np.int32) for fill in (0, -1, 0))
    kv_lens = np.zeros(num_rows, np.int32)
    page_table = np.zeros((num_rows, max_pages_per_row), np.int32)
    for index, row in enumerate(rows):
        span = slice(starts[index], starts[index + 1])
        kv_lens[index] = row.start + len(row.token_ids)
        token_ids[span], row_of[span] = row.token_ids, index
        positions[span] = np.arange(row.start, kv_lens[index])
        page_table[index, : len(row.page_ids)] = row.page_ids
    arrays: tuple[Any, ...] = (
        token_ids,
        positions,
        row_of,
        starts.astype(np.int32),
        kv_lens,
        page_table,
    )
    return RaggedBatch(*arrays)


def _round_up(count: int) -> int:
    return -(-count // SMALLEST_BUCKET) * SMALLEST_BUCKET


@partial(jax.jit, static_argnums=(0, 1), donate_argnums=(4,))
def _step(
    graph: nnx.GraphDef[Decoder],
    is_decode: bool,
    weights: nnx.State[Any, Any],
    batch: RaggedBatch,
    kv: list[KVPages],
) -> tuple[jax.Array, list[KVPages]]:
    decoder = nnx.merge(graph, weights)
    hidden_TD, kv = decoder(batch, kv, is_decode=is_decode)
    return decoder.logits(hidden_TD), kv
