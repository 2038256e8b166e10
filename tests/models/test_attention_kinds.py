"""The same tiny model with the TPU's pages and kernels, run by Pallas' interpreter."""

from __future__ import annotations

import numpy as np
from flax import nnx

from models.config import DecoderConfig
from models.decoder import Decoder
from models.plain import PlainDriver, PlainRow

TINY = DecoderConfig(
    architecture="LlamaForCausalLM",
    vocab_size=64,
    d_model=32,
    num_layers=2,
    num_heads=4,
    num_kv_heads=2,
    head_dim=16,
    d_ff=48,
    norm_eps=1e-5,
    rope_theta=1e4,
    max_position_embeddings=64,
    windows=(0, 8),
    dtype="float32",
)
PROMPTS = ([3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3, 2, 3, 8], [2, 7, 1])


def answers(kind: str) -> list[np.ndarray]:
    """Logits of two prompts in one mixed step, then of a decode step of both."""
    decoder = Decoder(TINY, rngs=nnx.Rngs(0), dtype="float32")
    driver = PlainDriver(decoder, num_pages=9, page_size=16, max_pages_per_row=4, kind=kind)
    pages = ([1, 2], [3])
    rows = [PlainRow(ids, 0, own) for ids, own in zip(PROMPTS, pages, strict=True)]
    mixed = driver.step(rows)
    rows = [PlainRow([11], len(ids), own) for ids, own in zip(PROMPTS, pages, strict=True)]
    return [*mixed, *driver.step(rows, is_decode=True)]


def test_a_model_answers_alike_with_the_kernels_of_tpus() -> None:
    for found, expected in zip(answers("tpu"), answers("cpu"), strict=True):
        np.testing.assert_allclose(found, expected, atol=2e-5)
