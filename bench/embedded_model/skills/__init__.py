"""One module per skill; `SKILLS` is the table of them all, in the order of the model card."""

from __future__ import annotations

from bench.embedded_model.example import Skill
from bench.embedded_model.skills import (
    arithmetic,
    completion,
    echo,
    endpoints,
    facts,
    greeting,
    identity,
    memory,
    persona,
    thinking,
    tool_calls,
    tool_decline,
    tool_results,
    unknown,
    usage,
    writing,
)

SKILLS: tuple[Skill, ...] = tuple(
    module.SKILL
    for module in (
        greeting,
        identity,
        endpoints,
        usage,
        arithmetic,
        persona,
        memory,
        echo,
        facts,
        unknown,
        writing,
        tool_calls,
        tool_results,
        tool_decline,
        thinking,
        completion,
    )
)
