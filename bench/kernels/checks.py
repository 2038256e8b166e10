"""Whether attention is right on this device: what to ask first on a card that never ran it.

parity     every token against the specification, where unwritten slots hold NaN
future     every query equals the first key it must not see, which would take all the weight
window     every query equals the last key that its window leaves out
bits       one token computed alone, in a batch, in a chunk, in a prompt: equal bits? (promise 3)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bench.child import NotComparable
from bench.kernels.attention import attend_chain
from bench.kernels.loads import HEADS, Load
from bench.kernels.parity import Asked, token_errors, verify
from bench.kernels.world import (
    CHUNK_TOKENS,
    Places,
    choose_kind,
    fill_pages,
    make_batch,
    place,
    random_chunk,
    random_queries,
)

ALL_TOKENS = 1 << 20


def check_attention(load: Load, check: str) -> dict[str, Any]:
    """Carry out one of `CHECKS`.

    Raises:
        NotEqual: attention is wrong.
    """
    return CHECKS[check](load)


def _compare(load: Load, queries: Callable[[Load, Places, jax.Array], jax.Array]) -> dict[str, Any]:
    kind = choose_kind(load).kind
    places = place(load)
    batch = make_batch(load, places)
    q_TQH = queries(load, places, random_queries(load, batch.positions_T.shape[0]))
    kv = fill_pages(kind, load, places, 0)
    plain = kv if kind in ("cpu", "xla") else fill_pages("xla", load, places, 0)
    o_TQH = jax.jit(attend_chain(load, kind))(q_TQH, [kv], batch)
    tokens, errors = token_errors(o_TQH, Asked(q_TQH, plain, batch, load), ALL_TOKENS)
    return {"kind": kind, "largest_error": round(verify(tokens, errors), 6), "tokens": len(tokens)}


def _parity(load: Load) -> dict[str, Any]:
    return _compare(load, lambda load, places, q_TQH: q_TQH)


def _future(load: Load) -> dict[str, Any]:
    return _compare(load, lambda load, places, q_TQH: _keys_at(load, places, q_TQH, 1))


def _window(load: Load) -> dict[str, Any]:
    if not load.window:
        raise NotComparable("the load has no window")
    return _compare(load, lambda load, places, q_TQH: _keys_at(load, places, q_TQH, -load.window))


def _keys_at(load: Load, places: Places, q_TQH: jax.Array, distance: int) -> jax.Array:
    """Queries replaced by the keys `distance` positions on, where the row has a key there."""
    heads = HEADS[load.heads]
    num_chunks = -(-len(places.row_X) // CHUNK_TOKENS)
    keys_XKH = jnp.concatenate([random_chunk(heads, 0, index)[0] for index in range(num_chunks)])
    is_new_X = np.concatenate([np.arange(kv) >= kv - new for kv, new in load.row_lengths])
    own = np.flatnonzero(is_new_X)
    other = np.clip(own + distance, 0, len(places.row_X) - 1)
    exists = (places.row_X[other] == places.row_X[own]) & (
        places.position_X[other] == places.position_X[own] + distance
    )
    group = heads.num_heads // heads.num_kv_heads
    probe_TQH = jnp.repeat(keys_XKH[other], group, axis=1)
    chosen_TQH = jnp.where(exists[:, None, None], probe_TQH, q_TQH[: len(own)])
    return q_TQH.at[: len(own)].set(chosen_TQH)


def _bits(load: Load) -> dict[str, Any]:
    """The last token of the load's one row, as decode computes it, against other ways."""
    length, heads, page_size = load.rows[0][1], load.heads, load.page_size
    ways = {
        "alone": ((1, length, 1),),
        "in a batch": ((1, length, 1), (7, length // 2 + 1, 1)),
        "beside a prompt": ((1, length, 1), (1, 200, 136)),
        "in a chunk of 2": ((1, length, min(2, length)),),
        "in its prompt": ((1, length, length),),
    }
    bits = {name: _last_token(Load(heads, rows, page_size)) for name, rows in ways.items()}
    alone = bits["alone"]
    return {
        "kind": choose_kind(load).kind,
        "bit_equal": {name: bool(np.array_equal(alone, other)) for name, other in bits.items()},
        "largest_difference": max(float(np.abs(alone - other).max()) for other in bits.values()),
        "repeats_itself": bool(np.array_equal(alone, _last_token(load))),
    }


def _last_token(load: Load) -> np.ndarray:
    """float32 `[Q, H]` of the last token of the first row, whose query is always the same."""
    kind = choose_kind(load).kind
    places = place(load)
    batch = make_batch(load, places)
    q_TQH = random_queries(load, batch.positions_T.shape[0])
    index = load.rows[0][2] - 1
    q_TQH = q_TQH.at[index].set(random_queries(load, 1)[0])
    kv = fill_pages(kind, load, places, 0)
    return np.asarray(jax.jit(attend_chain(load, kind))(q_TQH, [kv], batch)[index])


CHECKS: dict[str, Callable[[Load], dict[str, Any]]] = {
    "parity": _parity,
    "future": _future,
    "window": _window,
    "bits": _bits,
}
