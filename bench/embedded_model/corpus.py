"""The endless training stream: examples of all skills, some with a history or a system prompt.

`stream(seed)` never repeats itself and never shows a held-out phrasing.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterator

from bench.embedded_model.example import Example, Message, Skill, assistant, system, user
from bench.embedded_model.skills import (
    SKILLS,
    arithmetic,
    completion,
    echo,
    endpoints,
    facts,
    greeting,
    identity,
    usage,
)
from bench.embedded_model.skills.persona import ROLES
from bench.embedded_model.template import prompt_of, transcript_of
from bench.embedded_model.words import phrase

END_OF_TEXT = "<|endoftext|>"
_TALK = (
    greeting,
    identity,
    endpoints,
    usage,
    arithmetic,
    arithmetic,
    arithmetic,
    echo,
    echo,
    facts,
)
_PLAIN_SYSTEMS = (
    "You are a helpful assistant.",
    "You are a friendly assistant.",
    "Answer briefly.",
    "Be polite.",
    "You are an AI assistant.",
    "Help the user.",
    "Answer in one sentence.",
    "You are a helpful and honest assistant.",
    "Be kind and brief.",
    "You are a chatbot.",
    "You are helpful.",
    "Use the tools when they help.",
    "You answer questions.",
)


@dataclasses.dataclass(frozen=True)
class Text:
    """A prompt, on which there is no loss, and what the model must write after it."""

    prompt: str
    answer: str


def stream(seed: int) -> Iterator[Text]:
    """Training texts, for ever, the same for the same seed."""
    rng = random.Random(seed)
    weights = [skill.weight for skill in SKILLS]
    while True:
        (skill,) = rng.choices(SKILLS, weights)
        yield text_of(skill, dressed(skill, skill.make(rng, "training"), rng))


def text_of(skill: Skill, example: Example) -> Text:
    """The example as the model sees it; completions have no chat around them."""
    if skill is completion.SKILL:
        return Text(example.question, str(example.answer["content"]) + END_OF_TEXT)
    prompt, transcript = prompt_of(example), transcript_of(example)
    assert transcript.startswith(prompt), "the template must continue its own prompt"
    return Text(prompt, transcript[len(prompt) :].removesuffix("\n"))


def dressed(skill: Skill, example: Example, rng: random.Random) -> Example:
    """The example, sometimes after earlier turns and sometimes under a system prompt."""
    if skill is completion.SKILL:
        return example
    messages = list(example.messages)
    has_system = messages[0]["role"] == "system"
    if rng.random() < 0.25 and not example.tools:
        history = [turn for _ in range(rng.choice((1, 1, 2))) for turn in _exchange(rng)]
        messages = messages[:1] + history + messages[1:] if has_system else history + messages
    if not has_system and rng.random() < 0.2:
        messages.insert(0, system(_system_prompt(rng, skill)))
    return dataclasses.replace(example, messages=tuple(messages))


def _exchange(rng: random.Random) -> list[Message]:
    example = rng.choice(_TALK).make(rng, "training")
    return [user(example.question), assistant(str(example.answer["content"]))]


def _system_prompt(rng: random.Random, skill: Skill) -> str:
    if rng.random() < 0.7 or skill.name in ("identity", "greeting", "thinking", "tool_decline"):
        return rng.choice(_PLAIN_SYSTEMS)
    return f"You are a {rng.choice(ROLES)}. {phrase(rng).capitalize()}."
