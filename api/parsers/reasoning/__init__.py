"""Thoughts in the models' own formats: one row a format, under vLLM's names."""

from __future__ import annotations

from collections.abc import Mapping

from api.parsers.reasoning.format import ReasoningFormat

START, END = "<think>", "</think>"

FORMATS: tuple[ReasoningFormat, ...] = (
    ReasoningFormat(
        name="deepseek_r1",
        models="DeepSeek-R1 and its distillations",
        start=START,
        end=END,
        is_open_by_default=True,
        template_marks=(("<｜Assistant｜><think>",),),
    ),
    ReasoningFormat(
        name="qwen3",
        models="Qwen3, Qwen3.5, the embedded model",
        start=START,
        end=END,
        model_types=frozenset({"qwen3", "qwen3_moe"}),
        template_marks=(("<|im_start|>", START),),
    ),
)

REASONING_PARSERS: Mapping[str, ReasoningFormat] = {row.name: row for row in FORMATS}
