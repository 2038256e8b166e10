"""A family of models: how its config.json and its tensor names are read. No jax here."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from models.config import DecoderConfig
from models.weight_rules import WeightRule

HFConfig: TypeAlias = Mapping[str, Any]
"""A parsed config.json."""


@dataclasses.dataclass(frozen=True, slots=True)
class Family:
    """One row of differences.

    Attributes:
        name: as in config.json's `model_type`.
        architectures: Hugging Face class names it serves.
        decoder_config: reads config.json; raises UnsupportedModel naming what it cannot compute.
        weight_rules: one rule for every parameter of `Decoder(config)`.
        tensor_prefixes: how names of tensors begin in some checkpoints, to how `weight_rules`
            has them.
    """

    name: str
    architectures: tuple[str, ...]
    decoder_config: Callable[[HFConfig], DecoderConfig]
    weight_rules: Callable[[DecoderConfig], tuple[WeightRule, ...]]
    tensor_prefixes: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])
