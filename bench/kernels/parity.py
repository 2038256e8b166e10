"""Attention compared with its specification, token by token.

The specification gathers a row's whole context for every token, so of a long prompt only some
tokens are compared: the first, the last, both sides of every border of 64 that has room, others
at random.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bench.kernels.loads import HEADS, Load
from bench.kernels.world import scales_of
from pallas_kernels.paged_attention import KVPages, PlainPages, RaggedBatch, reference

TOLERANCE = 0.012
"""Largest ‖o - expected‖ / ‖expected‖ of a token: rounding to bfloat16 gives 2 to 6e-3."""
REFERENCE_BYTES = 2 << 30
MOST_TOKENS = 96
BORDER = 64


class NotEqual(AssertionError):
    """Attention gave something else than its specification."""


class Asked(NamedTuple):
    """What attention was asked, as its specification takes it.

    Attributes:
        plain: pages of kind "xla" with the same keys and values.
    """

    q_TQH: jax.Array
    plain: KVPages
    batch: RaggedBatch
    load: Load


def token_errors(
    o_TQH: jax.Array, asked: Asked, most: int = MOST_TOKENS
) -> tuple[np.ndarray, np.ndarray]:
    """Tokens that were compared, at most `most`, and the relative error of each; NaN stays NaN."""
    chosen = _chosen_tokens(np.asarray(asked.batch.positions_T), most)
    heads = HEADS[asked.load.heads]
    context = asked.batch.page_table_RP.shape[1] * asked.load.page_size
    at_once = max(1, REFERENCE_BYTES // (8 * context * heads.num_kv_heads * heads.head_dim))
    parts = np.split(chosen, range(at_once, len(chosen), at_once))
    return chosen, np.concatenate([_errors(o_TQH, asked, tokens) for tokens in parts])


def verify(tokens: np.ndarray, errors: np.ndarray) -> float:
    """The largest error.

    Raises:
        NotEqual: it is too large, or NaN.
    """
    worst = int(np.argmax(np.where(np.isnan(errors), np.inf, errors)))
    if not errors[worst] <= TOLERANCE:
        raise NotEqual(f"token {tokens[worst]} differs by {errors[worst]:.3g} from the reference")
    return float(errors[worst])


def _errors(o_TQH: jax.Array, asked: Asked, tokens: np.ndarray) -> np.ndarray:
    assert isinstance(asked.plain, PlainPages)
    index, batch, q_TQH = jnp.asarray(tokens), asked.batch, asked.q_TQH
    part = batch._replace(positions_T=batch.positions_T[index], row_T=batch.row_T[index])
    scale, window = q_TQH.shape[2] ** -0.5, asked.load.window
    expected = reference.attend(
        q_TQH[index], asked.plain, part, scale=scale, window=window, scales=scales_of(asked.load)
    )
    return _norms(o_TQH[index].astype(jnp.float32) - expected) / _norms(expected)


def _norms(x_TQH: jax.Array) -> np.ndarray:
    return np.linalg.norm(np.asarray(x_TQH).reshape(len(x_TQH), -1), axis=1)


def _chosen_tokens(positions_T: np.ndarray, most: int) -> np.ndarray:
    real = np.flatnonzero(positions_T >= 0)
    if len(real) <= most:
        return real
    borders = real[np.isin(positions_T[real] % BORDER, (0, BORDER - 1))]
    rng = np.random.default_rng(0)
    some = rng.permutation(borders)[: most // 2]
    others = rng.choice(real, most // 2 - 2, replace=False)
    return np.unique(np.concatenate([real[[0, -1]], some, others]))
