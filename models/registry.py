"""Which family serves an architecture."""

from __future__ import annotations

from models.errors import UnsupportedArchitecture
from models.families.gemma2 import GEMMA2
from models.families.gemma3 import GEMMA3
from models.families.llama import LLAMA
from models.families.mistral import MISTRAL
from models.families.qwen2 import QWEN2
from models.families.qwen3 import QWEN3
from models.family import Family, HFConfig

__all__ = ["FAMILIES", "UnsupportedArchitecture", "family_for", "supported_architectures"]

FAMILIES: tuple[Family, ...] = (LLAMA, QWEN2, QWEN3, MISTRAL, GEMMA2, GEMMA3)


def family_for(hf_config: HFConfig) -> Family:
    """The family of a parsed config.json.

    Raises:
        UnsupportedArchitecture: none of its `architectures` is served; lists those that are.
    """
    named: list[str] = hf_config.get("architectures") or []
    for family in FAMILIES:
        if set(named) & set(family.architectures):
            return family
    raise UnsupportedArchitecture(named, supported_architectures())


def supported_architectures() -> tuple[str, ...]:
    """Every Hugging Face class name that can be served, sorted."""
    return tuple(sorted(name for family in FAMILIES for name in family.architectures))
