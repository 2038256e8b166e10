"""`--load-format dummy`: seeded random weights of the right shapes, as fast as memory allows.

One block of normal numbers is tiled over every parameter, each starting elsewhere in it. The
block's length is prime, so that no two rows of a weight are alike.
"""

from __future__ import annotations

import functools
import zlib

import numpy as np

from engine.weights.checkpoint import WeightArray
from models.weight_rules import WeightRule

BLOCK_ITEMS = 1_048_573
STANDARD_DEVIATION = 0.02


def dummy_parameter(rule: WeightRule, dtype: np.dtype, seed: int) -> WeightArray:
    """Norms are 1, biases 0, the rest normal with standard deviation 0.02.

    The same rule, dtype and seed give the same numbers on every machine.
    """
    if len(rule.shape) == 1:
        return np.full(rule.shape, 0 if rule.parameter.endswith(".bias") else 1, dtype)
    block = _block(seed, dtype.name)
    start = zlib.crc32(rule.parameter.encode()) % BLOCK_ITEMS
    num_items = int(np.prod(rule.shape))
    return np.resize(np.roll(block, -start), num_items).reshape(rule.shape)


@functools.lru_cache(maxsize=1)
def _block(seed: int, dtype_name: str) -> WeightArray:
    random = np.random.default_rng(seed)
    block = random.standard_normal(BLOCK_ITEMS, dtype=np.float32) * np.float32(STANDARD_DEVIATION)
    return block.astype(np.dtype(dtype_name))
