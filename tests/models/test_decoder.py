"""The whole decoder gives a token the same bits however it arrives, and layers share one trace."""

from __future__ import annotations

import numpy as np
import pytest
from flax import nnx

from models import block
from models.config import DecoderConfig
from models.decoder import Decoder
from models.plain import PlainDriver, PlainRow

PAGES = (3, 1, 7, 5)
OTHERS = (PlainRow((5, 6, 7), 0, (9,)), PlainRow((8,), 0, (10,)))


def config(**differences) -> DecoderConfig:
    fields = {
        "architecture": "LlamaForCausalLM", "vocab_size": 96, "d_model": 48, "num_layers": 2,
        "num_heads": 6, "num_kv_heads": 2, "head_dim": 16, "d_ff": 80, "norm_eps": 1e-6,
        "rope_theta": 1e4, "max_position_embeddings": 512, "qk_norm": True,
    }  # fmt: skip
    return DecoderConfig(**(fields | differences))


def driver(dtype: str, **differences) -> PlainDriver:
    decoder = Decoder(config(dtype=dtype, **differences), rngs=nnx.Rngs(0))
    return PlainDriver(decoder, num_pages=12, max_pages_per_row=4)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_logits_have_the_same_bits_in_any_step(dtype):
    ids = [int(token) for token in np.random.default_rng(3).integers(0, 96, 41)]
    whole = driver(dtype).step([PlainRow(ids, 0, PAGES)], num_tokens=128)[0]
    by_token = driver(dtype)
    for position, token in enumerate(ids):
        row = PlainRow([token], position, PAGES)
        is_crowd = position % 2 == 0
        rows = [OTHERS[1], row] if is_crowd else [row]
        found = by_token.step(rows, is_decode=True, num_rows=32 if is_crowd else 8)[-1][0]
        assert np.array_equal(found, whole[position]), f"decode differs at {position}"
    for chunk, num_tokens in ((5, 8), (16, 64)):
        by_chunk = driver(dtype)
        for start in range(0, len(ids), chunk):
            row = PlainRow(ids[start : start + chunk], start, PAGES)
            found = by_chunk.step([*OTHERS, row], num_tokens=num_tokens)[-1]
            assert np.array_equal(found, whole[start : start + chunk]), f"chunk {chunk} at {start}"


def test_layers_of_one_kind_are_traced_once(monkeypatch):
    calls = []
    plain_call = block.Block.__call__

    def counting_call(self, *args, **kwargs):
        calls.append(self.mixer.window)
        return plain_call(self, *args, **kwargs)

    monkeypatch.setattr(block.Block, "__call__", counting_call)
    driver("float32", num_layers=6, windows=(0, 0, 24, 24, 0, 24), d_ff=88).step(OTHERS)
    assert sorted(calls) == [0, 24]


def test_tied_embeddings_have_no_second_copy():
    decoder = Decoder(config(tie_word_embeddings=True), rngs=nnx.Rngs(0))
    paths = [".".join(map(str, path)) for path, _ in nnx.to_flat_state(nnx.state(decoder))]
    assert [path for path in paths if path.startswith(("head", "embed"))] == ["embed.weight"]
