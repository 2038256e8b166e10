"""Thoughts in the models' own formats: one row a format, under vLLM's names."""

from __future__ import annotations

from collections.abc import Mapping

from api.parsers.reasoning.format import ReasoningFormat
from api.parsers.reasoning.rows import FORMATS

# other names of the same format
ALIASES: Mapping[str, str] = {
    "deepseek_v31": "deepseek_v3",
    "glm47": "glm45",
    "holo2": "deepseek_v3",
    "mimo": "qwen3",
    "nemotron_v3": "qwen3",
}

_BY_NAME = {row.name: row for row in FORMATS}

REASONING_PARSERS: Mapping[str, ReasoningFormat] = _BY_NAME | {
    alias: _BY_NAME[name] for alias, name in ALIASES.items()
}

# vLLM's names of formats that nobody here has seen written down; the flag refuses them by name
UNSUPPORTED: tuple[str, ...] = tuple(
    "beam cohere_command4 deepseek_v41 granite_thinking_parser hf hy_v3 hy_v4 inkling "
    "k2_horizon kimi_k3 ling3 minicpmv minimax_m3 muse muse_glimmer musespark1x plamo3 poolside_v1 "
    "step5".split()
)
__all__ = ["ALIASES", "FORMATS", "REASONING_PARSERS", "UNSUPPORTED", "ReasoningFormat"]
