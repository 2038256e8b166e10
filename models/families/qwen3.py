"""Qwen 3, dense: RMSNorm on every head of q and k; head_dim is a number of its own."""

from __future__ import annotations

from models.config import DecoderConfig
from models.families.names import llama_weight_rules
from models.families.qwen2 import qwen_windows
from models.families.reading import read_decoder_config
from models.family import Family, HFConfig

DEFAULT_HEAD_DIM = 128


def decoder_config(hf_config: HFConfig) -> DecoderConfig:
    """`attention_bias` puts biases on all four projections of attention."""
    has_bias = bool(hf_config.get("attention_bias", False))
    return read_decoder_config(
        hf_config,
        head_dim=int(hf_config.get("head_dim") or DEFAULT_HEAD_DIM),
        qk_norm=True,
        qkv_bias=has_bias,
        output_bias=has_bias,
        windows=qwen_windows(hf_config),
    )


QWEN3 = Family("qwen3", ("Qwen3ForCausalLM",), decoder_config, llama_weight_rules)
