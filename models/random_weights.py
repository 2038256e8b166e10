"""Seeded random weights of the right shapes, for `--load-format dummy`. No jax here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from models.weight_rules import WeightRule

INIT_STD = 0.02
POOL_SIZE = 1 << 20
"""Normal numbers drawn once; weights repeat them from a drawn offset, so that billions are fast."""


def random_weights(
    rules: Sequence[WeightRule], seed: int
) -> Iterator[tuple[WeightRule, npt.NDArray[np.float32]]]:
    """Float32 values of every rule's parameter, one at a time: norms 1, biases 0, others normal."""
    generator = np.random.default_rng(seed)
    pool = generator.standard_normal(POOL_SIZE, np.float32) * np.float32(INIT_STD)
    for rule in rules:
        yield rule, _values(rule, np.roll(pool, int(generator.integers(POOL_SIZE))))


def _values(rule: WeightRule, pool: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """One parameter's values; `shape` is that of the parameter."""
    if rule.parameter.endswith(".bias"):
        return np.zeros(rule.shape, np.float32)
    if len(rule.shape) == 1:
        return np.ones(rule.shape, np.float32)
    return np.resize(pool, rule.shape)
