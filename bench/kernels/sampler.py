"""Time of the sampler: the search for the cut of top-k, by every way there is, and the whole."""

from __future__ import annotations

import statistics
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bench.timing import spread, time_chain
from engine.sampling import make_slot_state, sample_full
from engine.sampling.logits import sortable
from engine.sampling.parameters import NUM_PARAMETER_FIELDS, Field
from pallas_kernels.threshold import THRESHOLDS, Threshold, choose

TOP_K = 50


def chosen_search() -> str:
    """The kind that the engine takes on this device."""
    return choose(jax.default_backend(), jax.devices()[0]).kind


def measure_searches(num_rows: int, vocab_size: int, *, quick: bool) -> dict[str, Any]:
    """Time of every search this device has for the `TOP_K`-th largest logit of every row."""
    logits_RV = jax.random.normal(jax.random.key(0), (num_rows, vocab_size), jnp.float32)
    key_RV, target_R = sortable(logits_RV), jnp.full((num_rows,), TOP_K, jnp.int32)
    expected_R = np.asarray(jax.jit(THRESHOLDS["plain"])(key_RV, target_R, None))
    found: dict[str, Any] = {}
    for kind in dict.fromkeys(("plain", chosen_search())):
        cut_R = np.asarray(jax.jit(THRESHOLDS[kind])(key_RV, target_R, None))
        assert np.array_equal(cut_R, expected_R), f"{kind} finds other cuts than plain"
        found[kind] = _measure_search(kind, key_RV, target_R, quick)
    fastest = min(found, key=lambda kind: found[kind]["median_us"])
    return {"fastest": fastest, "searches": found, **found[fastest]}


def _measure_search(
    kind: str, key_RV: jax.Array, target_R: jax.Array, quick: bool
) -> dict[str, Any]:
    """Each search waits for the one before it, and none is the same as the last."""

    @jax.jit
    def next_target(target_R: jax.Array) -> jax.Array:
        cut_R = THRESHOLDS[kind](key_RV, target_R, None)
        return TOP_K + (cut_R & 1)

    samples, _ = time_chain(next_target, target_R, **_pace(quick))
    return _figures(samples, *key_RV.shape)


def measure_sampler(num_rows: int, vocab_size: int, *, quick: bool) -> dict[str, Any]:
    """Time of `sample_full` with temperature, top_k and top_p in every row."""
    logits_RV = jax.random.normal(jax.random.key(0), (num_rows, vocab_size), jnp.float32)
    parameters = np.zeros((num_rows, NUM_PARAMETER_FIELDS), np.int32)
    parameters[:, Field.TEMPERATURE] = np.float32(0.8).view(np.int32)
    parameters[:, Field.REPETITION_PENALTY] = np.float32(1.0).view(np.int32)
    parameters[:, Field.TOP_K] = TOP_K
    parameters[:, Field.TOP_P] = np.uint32(0.9 * 2**32).view(np.int32)
    slot_R = jnp.arange(num_rows, dtype=jnp.int32)
    is_sampling_R = jnp.ones((num_rows,), jnp.bool_)
    zero_R = jnp.zeros((num_rows,), jnp.int32)
    no_ban_RB = jnp.full((num_rows, 1), -1, jnp.int32)
    all_RW = jnp.full((num_rows, -(-vocab_size // 32)), 0xFFFFFFFF, jnp.uint32)

    threshold = Threshold(chosen_search())

    def sample(state: Any) -> Any:
        arguments = (slot_R, is_sampling_R, jnp.asarray(parameters), zero_R, zero_R, no_ban_RB)
        num_top = min(20, vocab_size)
        output, slots = sample_full(logits_RV, state[1], *arguments, all_RW, num_top, threshold)
        return output.token_R, slots

    start = (zero_R, make_slot_state(num_rows, vocab_size))
    samples, _ = time_chain(jax.jit(sample, donate_argnums=0), start, **_pace(quick))
    return {"kind": threshold.kind, **_figures(samples, num_rows, vocab_size)}


def _figures(samples: list[float], num_rows: int, vocab_size: int) -> dict[str, Any]:
    """Bytes are those of reading the logits once: what no search can do without."""
    num_bytes = 4 * num_rows * vocab_size
    rate = num_bytes / statistics.median(samples)
    return {**spread(samples), "bytes": num_bytes, "bytes_per_s": rate}


def _pace(quick: bool) -> dict[str, Any]:
    return {"sample_s": 0.005, "repeats": 3} if quick else {}
