"""A tiny random Llama folder, made without torch."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from models.families.llama import LLAMA

HF_CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "vocab_size": 96,
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "intermediate_size": 48,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "max_position_embeddings": 128,
    "tie_word_embeddings": False,
    "hidden_act": "silu",
    "torch_dtype": "bfloat16",
    "eos_token_id": [2, 5],
}


def random_tensors(seed: int = 0) -> dict[str, np.ndarray]:
    """Every tensor of the model, under its Hugging Face name, bfloat16."""
    shapes = {
        "model.embed_tokens.weight": (96, 32),
        "model.norm.weight": (32,),
        "lm_head.weight": (96, 32),
        "model.layers.0.self_attn.q_proj.weight": (32, 32),
        "model.layers.0.self_attn.k_proj.weight": (16, 32),
        "model.layers.0.self_attn.v_proj.weight": (16, 32),
        "model.layers.0.self_attn.o_proj.weight": (32, 32),
        "model.layers.0.mlp.gate_proj.weight": (48, 32),
        "model.layers.0.mlp.up_proj.weight": (48, 32),
        "model.layers.0.mlp.down_proj.weight": (32, 48),
        "model.layers.0.input_layernorm.weight": (32,),
        "model.layers.0.post_attention_layernorm.weight": (32,),
    }
    random = np.random.default_rng(seed)
    return {
        name: random.standard_normal(shape, dtype=np.float32).astype(ml_dtypes.bfloat16)
        for name, shape in shapes.items()
    }


@pytest.fixture
def tensors() -> dict[str, np.ndarray]:
    return random_tensors()


@pytest.fixture
def folder(tmp_path: Path, tensors: dict[str, np.ndarray]) -> Path:
    """A sound model folder with one weight file."""
    path = tmp_path / "model"
    path.mkdir()
    (path / "config.json").write_text(json.dumps(HF_CONFIG))
    save_file(tensors, path / "model.safetensors")
    return path


@pytest.fixture
def shard(folder: Path, tensors: dict[str, np.ndarray]) -> Callable[[], Path]:
    """Turns the folder into one of two weight files and an index."""

    def split() -> Path:
        (folder / "model.safetensors").unlink()
        names = sorted(tensors)
        files = {
            "model-00001-of-00002.safetensors": names[:6],
            "model-00002-of-00002.safetensors": names[6:],
        }
        for file, members in files.items():
            save_file({name: tensors[name] for name in members}, folder / file)
        weight_map = {name: file for file, members in files.items() for name in members}
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
        return folder

    return split


@pytest.fixture
def rules():
    return LLAMA.weight_rules(LLAMA.decoder_config(HF_CONFIG))
