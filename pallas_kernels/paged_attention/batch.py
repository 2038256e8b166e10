"""The ragged batch: which tokens of which sequences a step computes, and where their KV lives."""

from __future__ import annotations

from typing import NamedTuple

import jax


class RaggedBatch(NamedTuple):
    """Tokens of all rows one after another, padded to a bucket. All int32.

    Row r owns tokens `[query_starts[r], query_starts[r + 1])` of the T axis; they are its
    positions `[kv_lens[r] - num_new, kv_lens[r])`. Padding rows have `kv_lens == 0` and no tokens;
    padding tokens come last, have `positions == -1`, and their keys and values go to page 0, the
    trash page, which no sequence owns.

    Attributes:
        token_ids_T: input ids (0 for padding).
        positions_T: position of each token in its sequence, -1 for padding.
        row_T: row each token belongs to (0 for padding).
        query_starts_R1: R + 1 offsets into T.
        kv_lens_R: tokens of each row in pages once this step has written its own.
        page_table_RP: page ids; entries past a row's last page are 0.
    """

    token_ids_T: jax.Array
    positions_T: jax.Array
    row_T: jax.Array
    query_starts_R1: jax.Array
    kv_lens_R: jax.Array
    page_table_RP: jax.Array
