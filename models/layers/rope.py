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


class Rotations(NamedTuple):
    """Angles of this step's tokens; the same for all layers of a kind."""

    full: Rotation
    sliding: Rotation

    def of(self, window: int) -> Rotation:
        """Those of a layer with this window; 0 = none."""
        return self.sliding if window else self.full


def rotations(config: DecoderConfig, positions_T: jax.Array) -> Rotations:
    """Both kinds; one and the same where the model makes no difference."""
    full = _rotation(frequencies(config), positions_T)
    if config.sliding_rope_theta is None:
        return Rotations(full, full)
    sliding = plain_frequencies(config.sliding_rope_theta, config.head_dim)
    return Rotations(full, _rotation(sliding, positions_T))


def _rotation(radians_I: Frequencies, positions_T: jax.Array) -> Rotation:
    frequency_I = jnp.asarray(radians_I)
    angle_TI = positions_T.astype(jnp.float32)[:, None] * frequency_I[None, :]
    return Rotation(jnp.cos(angle_TI), jnp.sin(angle_TI))


def rotate(x_TNH: jax.Array, angles: Rotation) -> jax.Array:
    """Each head's halves turned by the token's angles, float32."""
    left, right = jnp.split(x_TNH.astype(jnp.float32), 2, axis=-1)
    cos, sin = angles.cos_TI[:, None, :], angles.sin_TI[:, None, :]
    return jnp.concatenate([left * cos - right * sin, right * cos + left * sin], axis=-1)


def frequencies(config: DecoderConfig) -> Frequencies:
    """Radians per position of each pair of a head's components, float32 `[H/2]`; of layers
    without a window, if that makes a difference."""
    plain = plain_frequencies(config.rope_theta, config.head_dim)
    if config.rope_scaling is None:
        return plain
    return SCALINGS[config.rope_scaling.kind](plain, config.rope_scaling)


def plain_frequencies(theta: float, head_dim: int) -> Frequencies:
    """Frequencies of a base without scaling."""
    exponents = np.arange(0, head_dim, 2, dtype=np.float32) / np.float32(head_dim)
    return (1.0 / np.float32(theta) ** exponents).astype(np.float32)


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
