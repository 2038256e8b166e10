"""Mistral 7B and its successors: Llama with a sliding window, if `sliding_window` is not null."""

from __future__ import annotations

from models.config import DecoderConfig
from models.families.names import llama_weight_rules
from models.families.reading import read_decoder_config, read_windows
from models.family import Family, HFConfig

DEFAULT_WINDOW = 4096
"""What transformers takes when config.json has no `sliding_window` at all."""


def decoder_config(hf_config: HFConfig) -> DecoderConfig:
    """Every layer slides."""
    window: int | None = hf_config.get("sliding_window", DEFAULT_WINDOW)
    return read_decoder_config(hf_config, windows=read_windows(hf_config, window))


MISTRAL = Family("mistral", ("MistralForCausalLM",), decoder_config, llama_weight_rules)
