"""Draw tools and calls: known kinds under changing names, and tools made up on the spot.

A tool's name, its parameters' names and its description are drawn anew each time,
so that the model must copy them from the tool list instead of remembering them.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from bench.embedded_model.example import Phrasings, Split, Tool
from bench.embedded_model.skills.tool_kinds import KINDS, Parameter, ToolKind, any_number, any_word
from bench.embedded_model.words import name, syllable_word


@dataclass(frozen=True)
class Call:
    """A tool, a user's request for it, and the call that serves the request."""

    tool: Tool
    request: str
    arguments: dict[str, Any]

    @property
    def name(self) -> str:
        """The name of the tool."""
        return str(self.tool["function"]["name"])


def _made_up_kind(rng: random.Random) -> ToolKind:
    verb, noun = syllable_word(rng), syllable_word(rng)
    first, second = any_word(rng, "training"), syllable_word(rng)
    if rng.random() < 0.5:
        values = (
            Parameter(first, "integer", any_number(999), ""),
            Parameter(second, "integer", any_number(999), ""),
        )
    else:
        values = Parameter(first, "string", any_word, ""), Parameter(second, "string", name, "")
    if rng.random() < 0.6:
        parameters, ending, other = values[:1], f"with {first} {{0}}", "for {0}"
    else:
        parameters, ending, other = (
            values,
            f"with {first} {{0}} and {second} {{1}}",
            f"with {first}={{0}} and {second}={{1}}",
        )
    tool = f"{verb}_{noun}"
    return ToolKind(
        (tool, tool),
        (f"{verb.capitalize()} a {noun}", f"{verb.capitalize()} the {noun}"),
        parameters,
        Phrasings(
            (
                f"Call {tool} {ending}",
                f"Please use {tool} {other}",
                f"{verb.capitalize()} the {noun} {ending}",
                f"Use the tool {tool} {ending}",
                f"Run {tool} {other}",
            ),
            (
                f"Please call {tool} {ending}",
                f"Use {tool} {other}",
                f"Please {verb} the {noun} {ending}",
            ),
        ),
    )


def draw_kind(rng: random.Random) -> ToolKind:
    """A known kind of tool (the weather more often than others) or a made-up one."""
    if rng.random() < 0.25:
        return _made_up_kind(rng)
    return KINDS[0] if rng.random() < 0.15 else rng.choice(KINDS)


def _schema(parameter: Parameter, described: bool) -> dict[str, Any]:
    schema = {"type": parameter.type}
    return (
        schema | {"description": parameter.description}
        if described and parameter.description
        else schema
    )


def _parameter_names(kind: ToolKind, rng: random.Random) -> list[str]:
    place = rng.randrange(8)
    return [
        options[place % len(options)]
        for options in (parameter.names.split() for parameter in kind.parameters)
    ]


def build(kind: ToolKind, rng: random.Random, split: Split) -> tuple[Tool, list[str]]:
    """An OpenAI tool of this kind and the names of its parameters."""
    tool_name = rng.choice((kind.names[0] if split == "training" else " ".join(kind.names)).split())
    names, described = _parameter_names(kind, rng), rng.random() < 0.5
    properties = {
        key: _schema(parameter, described)
        for key, parameter in zip(names, kind.parameters, strict=True)
    }
    parameters: dict[str, Any] = {"type": "object", "properties": properties}
    if rng.random() < 0.7:
        parameters["required"] = names
    function: dict[str, Any] = {
        "name": tool_name,
        "description": rng.choice(kind.descriptions),
        "parameters": parameters,
    }
    return {"type": "function", "function": function}, names


def draw_call(kind: ToolKind, rng: random.Random, split: Split) -> Call:
    """A tool of this kind, a request that needs it, and the arguments of the call."""
    tool, names = build(kind, rng, split)
    values = [parameter.value(rng, split) for parameter in kind.parameters]
    spoken = [("on" if value else "off") if isinstance(value, bool) else value for value in values]
    request = kind.requests.pick(rng, split).format(*spoken)
    return Call(tool, request, dict(zip(names, values, strict=True)))
