"""How a parameter of the decoder is made of a checkpoint's tensors. No jax here."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclasses.dataclass(frozen=True, slots=True)
class WeightRule:
    """One parameter. Written by families, read by the loader.

    Attributes:
        parameter: dotted path in `Decoder`'s state, e.g. "layers.3.mixer.qkv.weight".
        sources: Hugging Face tensor names, stacked on axis 0 in this order (see `fuse`).
        logical_axes: of the parameter, as in its `logical_axes` metadata.
        shape: of the parameter.
        scale_heads: not 0: the sources are scales of so many heads, positive and kept in float32;
            one that is a single number is the scale of every head.
    """

    parameter: str
    sources: tuple[str, ...]
    logical_axes: tuple[str, ...]
    shape: tuple[int, ...]
    scale_heads: int = 0


def fuse(sources: Sequence[npt.NDArray[Any]], num_shards: int) -> npt.NDArray[Any]:
    """The sources stacked on axis 0, once per shard of the mesh's "model" axis.

    Shard i's part, `[i * rows / num_shards, (i + 1) * rows / num_shards)`, stacks the i-th part of
    every source, so that cutting the result in `num_shards` gives each device its own q, k and v.
    A single source comes back as it is.

    Raises:
        ValueError: a source has a number of rows that `num_shards` does not divide.
    """
    if len(sources) == 1:
        return sources[0]
    parts = [np.split(source, num_shards) for source in sources]
    return np.concatenate([part[shard] for shard in range(num_shards) for part in parts])
