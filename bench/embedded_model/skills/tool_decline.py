"""Answer without a call where no tool fits the question."""

from __future__ import annotations

import dataclasses
import random

from bench.embedded_model.example import Example, Skill, Split, Tool
from bench.embedded_model.skills import (
    arithmetic,
    echo,
    endpoints,
    facts,
    greeting,
    identity,
    persona,
    unknown,
    usage,
)
from bench.embedded_model.skills.tool_box import build
from bench.embedded_model.skills.tool_calls import tool_list
from bench.embedded_model.skills.tool_kinds import KINDS

_TALK = (greeting, identity, endpoints, usage, facts, echo, persona, unknown)
_CLOSE_TO_A_TOOL = (
    "weather",
    "time is it",
    "stock",
    "what is a ",
    "who is",
    "where is",
    "translate",
    "mean in french",
)
_NO_SUMS = tuple(
    kind
    for kind in KINDS
    if not kind.names[0].startswith(
        ("calculator", "add", "multiply", "search", "get_user", "roll", "send", "translate")
    )
)


def make(rng: random.Random, split: Split) -> Example:
    """A question of another skill beside tools that do not serve it."""
    while True:
        other = arithmetic if rng.random() < 0.2 else rng.choice(_TALK)
        example = other.make(rng, split)
        if not example.question.lower().startswith(_CLOSE_TO_A_TOOL) and not any(
            hint in example.question.lower() for hint in _CLOSE_TO_A_TOOL
        ):
            break
    unrelated, _ = build(rng.choice(_NO_SUMS), rng, split)
    tools = (unrelated,) if other is arithmetic else _other_tools(rng, split)

    def accepts(text: str) -> bool:
        return "<tool_call>" not in text and example.accepts(text)

    return dataclasses.replace(example, tools=tools, accepts=accepts)


def _other_tools(rng: random.Random, split: Split) -> tuple[Tool, ...]:
    tool, _ = build(rng.choice(_NO_SUMS), rng, split)
    return tool_list(rng, split, tool) if rng.random() < 0.3 else (tool,)


SKILL = Skill("tool_decline", 1.2, make, ())
