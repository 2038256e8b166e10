"""Call the tool that the request needs, in Hermes form."""

from __future__ import annotations

import json
import random
from typing import Any

from bench.embedded_model.example import Check, Example, Message, Skill, Split, Tool, typed, user
from bench.embedded_model.skills.tool_box import Call, build, draw_call, draw_kind
from bench.embedded_model.skills.tool_kinds import KINDS

_OPEN, _CLOSE = "<tool_call>", "</tool_call>"


def calling(*calls: Call) -> Message:
    """The assistant message that makes these calls, as OpenAI writes it."""
    return {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {
                "id": f"call_{index}",
                "type": "function",
                "function": {
                    "name": call.name,
                    "arguments": json.dumps(call.arguments, ensure_ascii=False),
                },
            }
            for index, call in enumerate(calls)
        ],
    }


def parse_calls(text: str) -> list[dict[str, Any]] | None:
    """The calls in a text that holds nothing else, or None where it is malformed."""
    calls: list[dict[str, Any]] = []
    rest = text.strip()
    while rest:
        body, closed, after = rest.removeprefix(_OPEN).partition(_CLOSE)
        if not rest.startswith(_OPEN) or not closed:
            return None
        try:
            calls.append(json.loads(body))
        except json.JSONDecodeError:
            return None
        rest = after.strip()
    return calls


def calls_are(*expected: Call) -> Check:
    """Accept exactly these calls: same tools, same arguments of the same types."""
    wanted = [{"name": call.name, "arguments": call.arguments} for call in expected]
    return lambda text: (
        json.dumps(parse_calls(text), sort_keys=True) == json.dumps(wanted, sort_keys=True)
    )


def tool_list(rng: random.Random, split: Split, *needed: Tool) -> tuple[Tool, ...]:
    """The needed tools among at most one other, in random order."""
    tools = list(needed)
    kinds = {tool["function"]["name"] for tool in needed}
    for _ in range(rng.choice((0, 0, 0, 1, 1))):
        other, _names = build(draw_kind(rng), rng, split)
        if other["function"]["name"] not in kinds and other["function"]["description"] not in {
            t["function"]["description"] for t in tools
        }:
            kinds.add(other["function"]["name"])
            tools.append(other)
    rng.shuffle(tools)
    return tuple(tools)


def _two_cities(rng: random.Random, split: Split) -> Example:
    first, second = (draw_call(KINDS[0], rng, split) for _ in range(2))
    (key,) = first.arguments
    second = Call(first.tool, "", {key: next(iter(second.arguments.values()))})
    start = first.request.rstrip("?.")
    question = (
        f"{start} and {second.arguments[key]}?"
        if start.endswith(str(first.arguments[key]))
        else f"Weather in {first.arguments[key]} and {second.arguments[key]}"
    )
    return Example(
        (user(question),),
        calling(first, second),
        calls_are(first, second),
        tool_list(rng, split, first.tool),
    )


def make(rng: random.Random, split: Split) -> Example:
    """A request and a tool list that has the tool for it."""
    if split == "training" and rng.random() < 0.05:
        return _two_cities(rng, split)
    call = draw_call(draw_kind(rng), rng, split)
    return Example(
        (user(typed(rng, call.request)),),
        calling(call),
        calls_are(call),
        tool_list(rng, split, call.tool),
    )


SKILL = Skill("tool_call", 2.5, make, tuple(kind.requests for kind in KINDS))
