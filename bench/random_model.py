"""Random-weight llama folders for benchmarks: right shapes, no download, no meaning."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from typing import Any

import ml_dtypes
import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers


@dataclasses.dataclass(frozen=True, kw_only=True)
class LlamaShape:
    """Sizes of a llama. The default is the 153M-parameter shape used in all comparisons.

    Attributes:
        weight_std: standard deviation of the weights; a larger one makes outputs depend more
            sharply on every token of the prompt.
    """

    d_model: int = 768
    num_layers: int = 12
    num_heads: int = 12
    num_kv_heads: int = 4
    d_ff: int = 3072
    vocab_size: int = 32000
    max_position_embeddings: int = 4096
    weight_std: float = 0.02

    @property
    def head_dim(self) -> int:
        """Width of a head."""
        return self.d_model // self.num_heads

    def hf_config(self) -> dict[str, Any]:
        """config.json as Hugging Face writes it."""
        return {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "hidden_size": self.d_model,
            "intermediate_size": self.d_ff,
            "num_hidden_layers": self.num_layers,
            "num_attention_heads": self.num_heads,
            "num_key_value_heads": self.num_kv_heads,
            "head_dim": self.head_dim,
            "vocab_size": self.vocab_size,
            "max_position_embeddings": self.max_position_embeddings,
            "rms_norm_eps": 1e-5,
            "rope_theta": 10000.0,
            "hidden_act": "silu",
            "tie_word_embeddings": False,
            "bos_token_id": None,
            "eos_token_id": 2,
            "torch_dtype": "bfloat16",
        }


def make_llama(
    folder: pathlib.Path, shape: LlamaShape | None = None, seed: int = 0
) -> pathlib.Path:
    """Write a Hugging Face folder (bfloat16, seeded); an existing one is kept."""
    shape = shape or LlamaShape()
    config = json.dumps(shape.hf_config(), indent=1)
    if (folder / "config.json").exists() and (folder / "config.json").read_text() == config:
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    save_file(random_weights(shape, seed), folder / "model.safetensors", {"format": "pt"})
    _word_tokenizer(shape.vocab_size).save(str(folder / "tokenizer.json"))
    tokenizer_config = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<w2>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer_config))
    (folder / "config.json").write_text(config)
    return folder


def random_weights(shape: LlamaShape, seed: int) -> dict[str, np.ndarray]:
    """Tensors under Hugging Face's names, bfloat16, norms 1."""
    generator = np.random.default_rng(seed)

    def matrix(rows: int, columns: int) -> np.ndarray:
        values = generator.standard_normal((rows, columns), dtype=np.float32) * np.float32(
            shape.weight_std
        )
        return values.astype(ml_dtypes.bfloat16)

    norm = np.ones(shape.d_model, ml_dtypes.bfloat16)
    kv_width = shape.num_kv_heads * shape.head_dim
    tensors = {
        "model.embed_tokens.weight": matrix(shape.vocab_size, shape.d_model),
        "model.norm.weight": norm,
        "lm_head.weight": matrix(shape.vocab_size, shape.d_model),
    }
    for index in range(shape.num_layers):
        prefix = f"model.layers.{index}."
        tensors |= {
            prefix + "input_layernorm.weight": norm.copy(),
            prefix + "post_attention_layernorm.weight": norm.copy(),
            prefix + "self_attn.q_proj.weight": matrix(shape.d_model, shape.d_model),
            prefix + "self_attn.k_proj.weight": matrix(kv_width, shape.d_model),
            prefix + "self_attn.v_proj.weight": matrix(kv_width, shape.d_model),
            prefix + "self_attn.o_proj.weight": matrix(shape.d_model, shape.d_model),
            prefix + "mlp.gate_proj.weight": matrix(shape.d_ff, shape.d_model),
            prefix + "mlp.up_proj.weight": matrix(shape.d_ff, shape.d_model),
            prefix + "mlp.down_proj.weight": matrix(shape.d_model, shape.d_ff),
        }
    return tensors


def _word_tokenizer(vocab_size: int) -> Tokenizer:
    words = {f"<w{index}>": index for index in range(vocab_size)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<w0>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.decoder = decoders.Fuse()
    return tokenizer
