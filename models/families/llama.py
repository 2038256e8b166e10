"""Llama 2, 3, 3.1, 3.2 and whatever else saved itself as LlamaForCausalLM."""

from __future__ import annotations

from models.config import DecoderConfig
from models.families.names import llama_weight_rules
from models.families.reading import read_decoder_config
from models.family import Family, HFConfig


def decoder_config(hf_config: HFConfig) -> DecoderConfig:
    """`attention_bias` puts biases on all four projections of attention."""
    has_bias = bool(hf_config.get("attention_bias", False))
    return read_decoder_config(
        hf_config,
        qkv_bias=has_bias,
        output_bias=has_bias,
        mlp_bias=bool(hf_config.get("mlp_bias", False)),
    )


LLAMA = Family("llama", ("LlamaForCausalLM",), decoder_config, llama_weight_rules)
