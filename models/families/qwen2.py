"""Qwen 2 and 2.5: biases on q, k and v; later layers may slide."""

from __future__ import annotations

from models.config import DecoderConfig
from models.families.names import llama_weight_rules
from models.families.reading import read_decoder_config, read_windows
from models.family import Family, HFConfig

DEFAULT_WINDOW = 4096
DEFAULT_FIRST_SLIDING_LAYER = 28


def decoder_config(hf_config: HFConfig) -> DecoderConfig:
    """Biases are not in config.json: the architecture has them."""
    return read_decoder_config(hf_config, qkv_bias=True, windows=qwen_windows(hf_config))


def qwen_windows(hf_config: HFConfig) -> tuple[int, ...]:
    """`sliding_window` counts only with `use_sliding_window`, from layer `max_window_layers` on."""
    if not hf_config.get("use_sliding_window", False):
        return read_windows(hf_config, None)
    first_layer = int(hf_config.get("max_window_layers", DEFAULT_FIRST_SLIDING_LAYER))
    return read_windows(hf_config, hf_config.get("sliding_window", DEFAULT_WINDOW), first_layer)


QWEN2 = Family("qwen2", ("Qwen2ForCausalLM",), decoder_config, llama_weight_rules)
