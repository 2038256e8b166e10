"""8-bit keys and values cost little: logits stay near those of transformers in float32."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
import transformers as hf
from flax import nnx

from models.decoder import Decoder
from models.plain import PlainDriver

PROMPT = [int(token) for token in np.random.default_rng(7).integers(0, 131, 60)]
PAGES = (5, 9, 2, 14)


def driver_with(decoder: Decoder, kv_dtype: str, scale: float) -> PlainDriver:
    """The decoder over 8-bit pages, every head with one scale, as a checkpoint would say."""
    for layer in decoder.layers:
        mixer = layer.mixer
        scales = jnp.full((2 * mixer.num_kv_heads,), scale, jnp.float32)
        mixer.kv_scales = nnx.data(nnx.Param(scales, logical_axes=("kv_heads",)))
    return PlainDriver(decoder, num_pages=24, page_size=16, max_pages_per_row=8, kv_dtype=kv_dtype)


@pytest.mark.parametrize(
    ("kv_dtype", "scale", "tolerance"),
    [
        ("float8_e4m3fn", 1.0, 0.06),
        ("float8_e4m3fn", 0.125, 0.06),
        ("float8_e5m2", 1.0, 0.12),
        ("int8", 0.05, 0.03),
    ],
)
def test_logits_stay_near_those_of_exact_keys_and_values(
    make_pair, prefill, kv_dtype: str, scale: float, tolerance: float
) -> None:
    pair = make_pair(hf.LlamaConfig, hf.LlamaForCausalLM)
    expected = pair.expected(PROMPT)
    driver = driver_with(pair.decoder, kv_dtype, scale)
    found = prefill(driver, PROMPT, PAGES, chunk=16)
    error = np.sqrt(((found - expected) ** 2).mean() / (expected**2).mean())
    assert 1e-4 < error < tolerance
