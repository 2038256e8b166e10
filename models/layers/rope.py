"""Rotary position embeddings in the half-split form of Llama (arXiv:2104.09864)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from models.config import DecoderConfig, RopeScaling

Frequencies = npt.NDArray[np.float32]


class Rotation(NamedTuple):
    """Cosine and sine of every token's angles, float32 `[T, H/2]`."""

    cos_TI: jax.Array
    sin_TI: jax.Array


def rotation(config: DecoderConfig, positions_T: jax.Array) -> Rotation:
    """Angles of this step's tokens; the same for all layers."""
    frequency_I = jnp.asarray(frequencies(config))
    angle_TI = positions_T.astype(jnp.float32)[:, None] * frequency_I[None, :]
    return Rotation(jnp.cos(angle_TI), jnp.sin(angle_TI))


def rotate(x_TNH: jax.Array, angles: Rotation) -> jax.Array:
    """Each head's halves turned by the token's angles, float32."""
    left, right = jnp.split(x_TNH.astype(jnp.float32), 2, axis=-1)
    cos, sin = angles.cos_TI[:, None, :], angles.sin_TI[:, None, :]
    return jnp.concatenate([left * cos - right * sin, right * cos + left * sin], axis=-1)


def frequencies(config: DecoderConfig) -> Frequencies:
    """Radians per position of each pair of a head's components, float32 `[H/2]`."""
    exponents = np.arange(0, config.head_dim, 2, dtype=np.float32) / np.float32(config.head_dim)
    plain = (1.0 / np.float32(config.rope_theta) ** exponents).astype(np.float32)
    if config.rope_scaling is None:
        return plain
    return SCALINGS[config.rope_scaling.kind](plain, config.rope_scaling)


def _linear(plain: Frequencies, scaling: RopeScaling) -> Frequencies:
    return (plain / np.float32(scaling.factor)).astype(np.float32)


def _llama3(plain: Frequencies, scaling: RopeScaling) -> Frequencies:
    """Slow wavelengths are slowed by `factor`, fast ones kept, those between interpolated."""
    wavelength = 2 * math.pi / plain
    turns = scaling.original_max_position_embeddings / wavelength
    span = scaling.high_freq_factor - scaling.low_freq_factor
    keep = np.clip((turns - scaling.low_freq_factor) / span, 0.0, 1.0)
    return ((1 - keep) * plain / scaling.factor + keep * plain).astype(np.float32)


SCALINGS: dict[str, Callable[[Frequencies, RopeScaling], Frequencies]] = {
    "linear": _linear,
    "llama3": _llama3,
}
