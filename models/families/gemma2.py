"""Gemma 2 (arXiv:2408.00118): every other layer slides, scores and logits are capped."""

from __future__ import annotations

from typing import Any

from models.config import DecoderConfig
from models.errors import UnsupportedModel
from models.families.names import llama_weight_rules
from models.families.reading import read_decoder_config, read_windows
from models.family import Family, HFConfig

DEFAULTS: HFConfig = {
    "num_key_value_heads": 4,
    "head_dim": 256,
    "hidden_activation": "gelu_pytorch_tanh",
    "max_position_embeddings": 8192,
    "tie_word_embeddings": True,
    "query_pre_attn_scalar": 256,
    "sliding_window": 4096,
    "sliding_window_pattern": 2,
    "final_logit_softcapping": 30.0,
    "attn_logit_softcapping": 50.0,
}
"""What transformers takes for entries that config.json leaves out."""


def decoder_config(hf_config: HFConfig) -> DecoderConfig:
    """One base of rotation for all layers."""
    return read_gemma_config({**DEFAULTS, **hf_config})


def read_gemma_config(hf_config: HFConfig, **differences: Any) -> DecoderConfig:
    """What Gemma 2 and 3 share, of a config.json with its defaults filled in.

    Raises:
        UnsupportedModel: a value that the decoder does not compute.
    """
    if hf_config.get("use_bidirectional_attention"):
        raise UnsupportedModel("use_bidirectional_attention = True is not supported")
    if not hf_config["sliding_window"]:
        raise UnsupportedModel(f"sliding_window = {hf_config['sliding_window']!r} is not supported")
    has_bias = bool(hf_config.get("attention_bias", False))
    shared: dict[str, Any] = {
        "windows": _windows(hf_config),
        "attention_scale": float(hf_config["query_pre_attn_scalar"]) ** -0.5,
        "attention_softcap": hf_config["attn_logit_softcapping"],
        "logits_softcap": hf_config["final_logit_softcapping"],
        "has_post_norms": True,
        "norm_weight_offset": 1.0,
        "embedding_scale": float(hf_config["hidden_size"]) ** 0.5,
        "qkv_bias": has_bias,
        "output_bias": has_bias,
    }
    # Old files name the exact GELU as `hidden_act` beside this one, which counts.
    renamed = {**hf_config, "hidden_act": hf_config["hidden_activation"]}
    return read_decoder_config(renamed, **(shared | differences))


def _windows(hf_config: HFConfig) -> tuple[int, ...]:
    """`layer_types` says which layers slide, else all but each `sliding_window_pattern`-th."""
    if hf_config.get("layer_types"):
        return read_windows(hf_config, hf_config["sliding_window"])
    period, window = int(hf_config["sliding_window_pattern"]), int(hf_config["sliding_window"])
    num_layers = int(hf_config["num_hidden_layers"])
    return tuple(window if (index + 1) % period else 0 for index in range(num_layers))


GEMMA2 = Family("gemma2", ("Gemma2ForCausalLM",), decoder_config, llama_weight_rules)
