"""Models by name, as the config.json that makes them; their weights are dummies. No jax."""

from __future__ import annotations

import json
import pathlib
from typing import Any

from bench.random_model import LlamaShape

LLAMA_8B: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "vocab_size": 128256,
    "hidden_size": 4096,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "intermediate_size": 14336,
    "max_position_embeddings": 131072,
    "rms_norm_eps": 1e-5,
    "rope_theta": 500000.0,
    "hidden_act": "silu",
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
}
QWEN3_8B: dict[str, Any] = LLAMA_8B | {
    "architectures": ["Qwen3ForCausalLM"],
    "model_type": "qwen3",
    "vocab_size": 151936,
    "num_hidden_layers": 36,
    "intermediate_size": 12288,
    "max_position_embeddings": 40960,
    "rms_norm_eps": 1e-6,
    "rope_theta": 1000000.0,
}
QWEN3_06B: dict[str, Any] = QWEN3_8B | {
    "hidden_size": 1024,
    "num_hidden_layers": 28,
    "num_attention_heads": 16,
    "intermediate_size": 3072,
    "tie_word_embeddings": True,
}
TINY = LlamaShape(d_model=128, num_layers=2, num_heads=2, num_kv_heads=1, d_ff=256, vocab_size=512)
MODELS: dict[str, dict[str, Any]] = {
    "llama-3.1-8b": LLAMA_8B,
    "qwen3-8b": QWEN3_8B,
    "qwen3-0.6b": QWEN3_06B,
    "llama-153m": LlamaShape().hf_config(),
    "tiny": TINY.hf_config(),
}


def write_folder(model: str, folder: pathlib.Path) -> pathlib.Path:
    """A model folder without weights: `--load-format dummy` needs no more."""
    path = folder / model
    path.mkdir(parents=True, exist_ok=True)
    (path / "config.json").write_text(json.dumps(MODELS[model], indent=1))
    return path
