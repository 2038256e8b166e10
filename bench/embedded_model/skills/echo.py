"""Repeat a text exactly."""

from __future__ import annotations

import random

from bench.embedded_model.example import Example, Phrasings, Skill, Split, assistant, equals, user
from bench.embedded_model.words import name, phrase

_REPEAT = Phrasings(
    (
        "Repeat after me: {0}",
        "Repeat: {0}",
        "Say: {0}",
        "Echo: {0}",
        "Say this: {0}",
        "Repeat this: {0}",
        "Please repeat: {0}",
        "Write: {0}",
        "Print: {0}",
        "Answer with: {0}",
        "Copy this text: {0}",
        "Please say: {0}",
        "Write this down: {0}",
        "Repeat the following: {0}",
        "Say exactly: {0}",
        "Just say: {0}",
        "Reply with: {0}",
        "Can you repeat this: {0}",
        "Repeat what I say: {0}",
        "Output: {0}",
        "Now say: {0}",
        "Reply only with: {0}",
        "Repeat these words: {0}",
    ),
    (
        "Please repeat after me: {0}",
        "Can you say: {0}",
        "Repeat the text: {0}",
        "Please echo: {0}",
        "Copy this: {0}",
        "Say the following: {0}",
        "Please write: {0}",
        "Repeat exactly: {0}",
        "Answer only with: {0}",
        "Please print: {0}",
    ),
)


def _text(rng: random.Random, split: Split) -> str:
    kind = rng.random()
    if kind < 0.35:
        return phrase(rng)
    if kind < 0.55:
        return phrase(rng, 12)
    if kind < 0.75:
        return phrase(rng).capitalize() + rng.choice(".!?")
    if kind < 0.9:
        return f"{name(rng, split)} {phrase(rng, 3)}"
    return " ".join(str(rng.randint(0, 999)) for _ in range(rng.randint(1, 3)))


def make(rng: random.Random, split: Split) -> Example:
    """A text to repeat, sometimes in quotes, which are not part of it."""
    text = _text(rng, split)
    shown = f'"{text}"' if rng.random() < 0.2 else text
    return Example((user(_REPEAT.pick(rng, split).format(shown)),), assistant(text), equals(text))


SKILL = Skill("echo", 2.0, make, (_REPEAT,))
