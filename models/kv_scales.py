"""Scales of 8-bit keys and values in a checkpoint: who gives them which names. No jax here."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection

from models.config import DecoderConfig
from models.weight_rules import WeightRule

QKV = ".mixer.qkv.weight"

SCALE_NAMES: tuple[tuple[str, str], ...] = (
    ("k_scale", "v_scale"),  # llm-compressor
    ("k_proj.k_scale", "v_proj.v_scale"),  # ModelOpt
    ("attn.k_scale", "attn.v_scale"),
)
"""Names within a layer's attention, those of keys and of values."""


def with_kv_scales(
    decoder: DecoderConfig, rules: tuple[WeightRule, ...], tensor_names: Collection[str]
) -> tuple[DecoderConfig, tuple[WeightRule, ...]]:
    """Both with the scales that the checkpoint has: of every layer, or the same as before.

    A layer without them, where others have them, is given names that the loader will miss.
    """
    prefixes = {
        rule.parameter.removesuffix(QKV): rule.sources[0].removesuffix("q_proj.weight")
        for rule in rules
        if rule.parameter.endswith(QKV)
    }
    known = [names for names in SCALE_NAMES if _has_any(names, prefixes.values(), tensor_names)]
    if not known:
        return decoder, rules
    scale_rules = tuple(
        WeightRule(
            f"{layer}.mixer.kv_scales",
            (prefix + known[0][0], prefix + known[0][1]),
            ("kv_heads",),
            (2 * decoder.num_kv_heads,),
            scale_heads=decoder.num_kv_heads,
        )
        for layer, prefix in prefixes.items()
    )
    return dataclasses.replace(decoder, has_kv_scales=True), (*rules, *scale_rules)


def _has_any(
    names: tuple[str, str], prefixes: Collection[str], tensor_names: Collection[str]
) -> bool:
    return any(prefix + name in tensor_names for prefix in prefixes for name in names)
