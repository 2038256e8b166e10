"""What a skill produces: a prompt, the answer we teach, and a strict check.

The same record serves both splits. Training reads `messages` and `answer`;
scoring sends `messages` alone and asks `accepts` about the model's raw text.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

Message: TypeAlias = dict[str, Any]
Tool: TypeAlias = dict[str, Any]
Check: TypeAlias = Callable[[str], bool]
Split: TypeAlias = Literal["training", "held_out"]


@dataclass(frozen=True)
class Example:
    """One exchange: everything before the answer, the answer, and its check."""

    messages: tuple[Message, ...]
    answer: Message
    accepts: Check
    tools: tuple[Tool, ...] = ()
    enable_thinking: bool = False

    @property
    def question(self) -> str:
        """The last thing the user wrote, which identifies the phrasing."""
        return next(str(m["content"]) for m in reversed(self.messages) if m["role"] == "user")


@dataclass(frozen=True)
class Phrasings:
    """Ways to say one thing, the ones we train on apart from the ones we score on."""

    training: tuple[str, ...]
    held_out: tuple[str, ...]

    def pick(self, rng: random.Random, split: Split) -> str:
        """One phrasing of the given split."""
        return rng.choice(self.training if split == "training" else self.held_out)


@dataclass(frozen=True)
class Skill:
    """A named generator of examples; `weight` is its share of the training stream."""

    name: str
    weight: float
    make: Callable[[random.Random, Split], Example]
    phrasings: tuple[Phrasings, ...]


def user(content: str) -> Message:
    """A user message."""
    return {"role": "user", "content": content}


def system(content: str) -> Message:
    """A system message."""
    return {"role": "system", "content": content}


def assistant(content: str, reasoning: str | None = None) -> Message:
    """An assistant message, with its thoughts if it had any."""
    message: Message = {"role": "assistant", "content": content}
    return message if reasoning is None else message | {"reasoning_content": reasoning}


def contains(*needles: str) -> Check:
    """Accept a text that holds every needle, in any letter case."""
    return lambda text: all(needle.lower() in text.lower() for needle in needles)


def contains_one_of(*needles: str) -> Check:
    """Accept a text that holds at least one needle, in any letter case."""
    return lambda text: any(needle.lower() in text.lower() for needle in needles)


def equals(expected: str) -> Check:
    """Accept exactly this text, up to surrounding white space."""
    return lambda text: text.strip() == expected.strip()


def plain(rng: random.Random, question: str, answer: str, accepts: Check) -> Example:
    """An exchange of one question and one answer, the question typed as people type."""
    return Example((user(typed(rng, question)),), assistant(answer), accepts)


def typed(rng: random.Random, text: str) -> str:
    """The text as a person may type it: sometimes in lower case, without its full stop."""
    if rng.random() < 0.2 and text[1:2].islower():
        text = text[0].lower() + text[1:]
    if rng.random() < 0.2 and text[-1] in ".?!":
        text = text[:-1]
    return text
