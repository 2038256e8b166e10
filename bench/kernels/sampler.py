"""Time of the sampler: the search for the cut of top-k, by every way there is, and the whole."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bench.timing import spread, time_chain
from engine.sampling import make_slot_state, sample_full, threshold
from engine.sampling.logits import sortable
from engine.sampling.parameters import NUM_PARAMETER_FIELDS, Field

TOP_K = 50
Search = Callable[..., jax.Array]


def searches() -> dict[str, Search]:
    """Every search for a cut that `engine.sampling.threshold` offers, by name.

    They take the arguments of `largest_cut`.
    """
    names = [name for name in vars(threshold) if name.startswith("largest_cut")]
    return {name: getattr(threshold, name) for name in names}


def measure_searches(num_rows: int, vocab_size: int, *, quick: bool) -> dict[str, Any]:
    """Time of every search for the `TOP_K`-th largest logit of every row."""
    found = {
        name: _measure_search(name, search, num_rows, vocab_size, quick)
        for name, search in searches().items()
    }
    fastest = min(found, key=lambda name: found[name]["median_us"])
    return {"fastest": fastest, "searches": found, **found[fastest]}


def _measure_search(
    name: str, search: Search, num_rows: int, vocab_size: int, quick: bool
) -> dict[str, Any]:
    logits_RV = jax.random.normal(jax.random.key(0), (num_rows, vocab_size), jnp.float32)
    target_R = jnp.full((num_rows,), TOP_K, jnp.int32)

    @jax.jit
    def find(logits_RV: jax.Array) -> tuple[jax.Array, jax.Array]:
        key_RV = sortable(logits_RV)
        cut_R = search(key_RV, jnp.ones_like, target_R)
        num_kept_R = jnp.sum((key_RV >= cut_R[:, None]).astype(jnp.int32), axis=1)
        # The next search needs this one's answer; the logits stay what they are.
        return logits_RV.at[:, 0].add(jnp.where(num_kept_R < 0, 1.0, 0.0)), num_kept_R

    num_kept_R = np.asarray(find(logits_RV)[1])
    assert np.all(num_kept_R >= TOP_K), f"{name} finds another cut"

    def step(state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        return find(state[0])

    samples, _ = time_chain(step, find(logits_RV), **_pace(quick))
    return _figures(samples, num_rows, vocab_size)


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

    def sample(state: Any) -> Any:
        arguments = (slot_R, is_sampling_R, jnp.asarray(parameters), zero_R, zero_R, no_ban_RB)
        output, slots = sample_full(logits_RV, state[1], *arguments, min(20, vocab_size))
        return output.token_R, slots

    start = (zero_R, make_slot_state(num_rows, vocab_size))
    samples, _ = time_chain(jax.jit(sample, donate_argnums=0), start, **_pace(quick))
    return _figures(samples, num_rows, vocab_size)


def _figures(samples: list[float], num_rows: int, vocab_size: int) -> dict[str, Any]:
    """Bytes are those of reading the logits once: what no search can do without."""
    num_bytes = 4 * num_rows * vocab_size
    rate = num_bytes / statistics.median(samples)
    return {**spread(samples), "bytes": num_bytes, "bytes_per_s": rate}


def _pace(quick: bool) -> dict[str, Any]:
    return {"sample_s": 0.005, "repeats": 3} if quick else {}
