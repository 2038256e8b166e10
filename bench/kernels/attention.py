"""Time of attention over pages: what the engine would run here, and XLA's plain one beside it.

One program runs a chain of layers, each on pages of its own, so that together they are several
times the last-level cache, and each layer's queries depend on the layer before (one addition more
than attention alone). Nothing is timed that did not first agree with the specification.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from bench.child import NotComparable
from bench.kernels.loads import HEADS, Load
from bench.kernels.parity import Asked, token_errors, verify
from bench.kernels.world import (
    choose_kind,
    fill_pages,
    make_batch,
    place,
    random_queries,
    scales_of,
)
from bench.timing import spread, time_chain
from pallas_kernels.paged_attention import KVPages, RaggedBatch, attend

ROTATING_BYTES = 256 << 20
"""Of all layers' keys and values together at least: five times the 50 MB cache of an H100."""
LEAST_LAYERS = 8
"""The work list, computed once a step, is shared by many layers of a model, not by one."""
MOST_LAYERS = 16
XLA_BYTES = 16 << 30
"""XLA's plain attention takes memory for every token's whole context: above this it is left out."""

Step = Callable[[jax.Array, list[KVPages], RaggedBatch], jax.Array]


def measure_attention(load: Load, implementation: str, *, quick: bool) -> dict[str, Any]:
    """Compare with the specification, then time.

    Args:
        implementation: "chosen" (what `kinds.choose` takes here) or "xla".

    Raises:
        NotComparable: XLA cannot, or need not be measured.
        NotEqual: it is wrong.
    """
    choice = choose_kind(load)
    kind = choice.kind if implementation == "chosen" else "xla"
    _verify_feasible(load, kind, choice.kind, implementation)
    places = place(load)
    batch = make_batch(load, places)
    q_TQH = random_queries(load, batch.positions_T.shape[0])
    kv = [fill_pages(kind, load, places, seed) for seed in range(_num_layers(load, quick))]
    plain = kv[0] if kind in ("cpu", "xla") else fill_pages("xla", load, places, 0)
    once = jax.jit(attend_chain(load, kind))
    o_TQH = once(q_TQH, kv[:1], batch)
    worst = verify(*token_errors(o_TQH, Asked(q_TQH, plain, batch, load)))
    del plain, o_TQH
    program = (
        jax.jit(attend_chain(load, kind, keeps_queries=True)).lower(q_TQH, kv, batch).compile()
    )
    pace: dict[str, Any] = {"sample_s": 0.005, "repeats": 3} if quick else {}
    samples, _ = time_chain(lambda q: program(q, kv, batch), q_TQH, **pace)
    of_layer = [sample / len(kv) for sample in samples]
    median_s = statistics.median(of_layer)
    return {
        "kind": kind,
        "fallback": choice.fallback,
        "layers": len(kv),
        "largest_error": round(worst, 6),
        **spread(of_layer),
        "bytes": load.num_bytes(),
        "flops": load.num_flops(),
        "bytes_per_s": load.num_bytes() / median_s,
        "flops_per_s": load.num_flops() / median_s,
    }


def attend_chain(load: Load, kind: str, *, keeps_queries: bool = False) -> Step:
    """The program: attention of layer after layer.

    Args:
        keeps_queries: give the next program's queries (bfloat16), which hold what came out;
            else the attention of the last layer.
    """

    # A function of its own for every program: jax remembers traces, and sizes may have changed.
    @jax.jit
    def attend_layer(q_TQH: jax.Array, kv: KVPages, batch: RaggedBatch) -> jax.Array:
        return attend(
            q_TQH,
            kv,
            batch,
            scale=HEADS[load.heads].head_dim ** -0.5,
            window=load.window,
            scales=scales_of(load),
            is_decode=load.is_decode,
            # On a CPU too "xla" must not be cpu.py: ask for it as any other device would.
            platform="gpu" if kind == "xla" else "",
        )

    def run(q_TQH: jax.Array, kv: list[KVPages], batch: RaggedBatch) -> jax.Array:
        given_TQH = q_TQH
        o_TQH = jnp.zeros(q_TQH.shape, jnp.float32)
        for layer in kv:
            o_TQH = attend_layer(q_TQH, layer, batch)
            q_TQH = given_TQH + o_TQH.astype(given_TQH.dtype)
        return _bounded(q_TQH) if keeps_queries else o_TQH

    return run


def _bounded(q_TQH: jax.Array) -> jax.Array:
    """Queries that do not grow from program to program."""
    return jnp.clip(q_TQH, -4, 4).astype(q_TQH.dtype)


def _num_layers(load: Load, quick: bool) -> int:
    if quick:
        return 2
    return max(LEAST_LAYERS, min(MOST_LAYERS, -(-ROTATING_BYTES // load.num_bytes())))


def _verify_feasible(load: Load, kind: str, chosen: str, implementation: str) -> None:
    if implementation != "chosen" and chosen == "xla":
        raise NotComparable("XLA's plain attention is what the engine runs here")
    heads = HEADS[load.heads]
    context = max(kv_len for kv_len, _ in load.row_lengths)
    num_tokens = sum(num_new for _, num_new in load.row_lengths)
    needed = 8 * num_tokens * context * (heads.num_kv_heads * heads.head_dim + heads.num_heads)
    if kind == "xla" and needed > XLA_BYTES:
        raise NotComparable(f"XLA's plain attention would take about {needed >> 30} GiB")
