"""Parameters onto devices, one at a time: the peak is the model and its largest parameter."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Sequence

import jax

from engine.weights.assemble import assemble, unused_tensors, verify_checkpoint
from engine.weights.checkpoint import Checkpoint, WeightArray
from engine.weights.dtypes import NUMPY_DTYPES, SAFETENSORS_DTYPES
from engine.weights.dummy import dummy_parameter
from models.weight_rules import WeightRule

_logger = logging.getLogger(__name__)

Source = Callable[[WeightRule], WeightArray]
"""Gives a parameter on the host, fused and in the right dtype."""


@dataclasses.dataclass(frozen=True)
class Placement:
    """Where a parameter goes; in the order of the step's weight leaves."""

    rule: WeightRule
    sharding: jax.sharding.Sharding


def checkpoint_source(
    checkpoint: Checkpoint, dtype: str, num_shards: int, weight_dtype: str = ""
) -> Source:
    """Parameters of a checkpoint, cast to `dtype` (round to nearest even).

    Args:
        weight_dtype: in which these values are kept; "" is `dtype`.
    """
    kept_as = NUMPY_DTYPES[weight_dtype or dtype]

    def read(rule: WeightRule) -> WeightArray:
        array = assemble(checkpoint, rule, NUMPY_DTYPES[dtype], num_shards)
        return array if rule.scale_heads else array.astype(kept_as, copy=False)

    return read


def dummy_source(dtype: str, seed: int, weight_dtype: str = "") -> Source:
    """Random parameters."""
    kept_as = NUMPY_DTYPES[weight_dtype or dtype]
    return lambda rule: dummy_parameter(rule, NUMPY_DTYPES[dtype], seed).astype(kept_as, copy=False)


def verify_weights(checkpoint: Checkpoint, rules: Sequence[WeightRule]) -> None:
    """Check all headers against the rules before anything large is allocated.

    Raises:
        ModelFormatError: naming the file at fault.
    """
    verify_checkpoint(checkpoint, tuple(rules), frozenset(SAFETENSORS_DTYPES))
    unused = unused_tensors(checkpoint, tuple(rules))
    if unused:
        _logger.warning(
            "%d tensors of the checkpoint are not in the model that config.json describes and "
            "stay unused, the first of them %r",
            len(unused),
            unused[0],
        )


def load_weights(
    source: Source,
    placements: Sequence[Placement],
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[jax.Array]:
    """Read and place every parameter; returns them in the order of `placements`.

    Args:
        on_progress: called with (parameters done, parameters in all) after each.
    """
    leaves: list[jax.Array] = []
    for placement in placements:
        leaves.append(_place(source(placement.rule), placement.sharding))
        on_progress(len(leaves), len(placements))
    return leaves


def _place(array: WeightArray, sharding: jax.sharding.Sharding) -> jax.Array:
    return jax.device_put(array, sharding).block_until_ready()
