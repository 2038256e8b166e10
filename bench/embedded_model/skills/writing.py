"""Short things to write: haiku, stories, jokes, JSON and a little Python."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import TypeAlias

from bench.embedded_model.example import (
    Check,
    Example,
    Phrasings,
    Skill,
    Split,
    contains,
    equals,
    plain,
)
from bench.embedded_model.words import name

_TOPICS = (
    "sea moon rain forest river night snow sun wind winter summer garden mountain cat dog star "
    "city road tree bird"
).split()
_ANIMALS = "cat dog fox bear mouse owl horse frog duck rabbit robot dragon".split()
_JOKES = (
    "Why was the token sad? It was out of context.",
    "Why did the cache go home early? It had too many hits.",
    "What does a tired server say? I need a new batch of coffee.",
    "Why did the page cross the memory? To join its sequence.",
)
_HAIKU = Phrasings(
    (
        "Write a haiku about the {0}.",
        "Haiku about the {0}",
        "Write a poem about the {0}.",
        "Give me a short poem about the {0}.",
        "Please write a haiku about the {0}.",
        "Can you write a poem about the {0}?",
        "I want a poem about the {0}.",
        "A poem about the {0}, please.",
        "Compose a haiku about the {0}.",
    ),
    (
        "Write a short poem about the {0}.",
        "Can you write a haiku about the {0}?",
        "Please write a poem about the {0}.",
        "Give me a haiku about the {0}.",
    ),
)
_STORY = Phrasings(
    (
        "Tell me a story about a {0} named {1}.",
        "Write a story about a {0} named {1}.",
        "Tell a story about a {0} called {1}.",
        "Story about a {0} named {1}",
        "Write a short story about {1} the {0}.",
        "I want a story about a {0} named {1}.",
        "Please tell me a story about {1} the {0}.",
    ),
    (
        "Write a short story about a {0} named {1}.",
        "Please tell me a story about a {0} called {1}.",
        "Can you tell a story about {1} the {0}?",
    ),
)
_ANY_STORY = Phrasings(
    (
        "Tell me a story.",
        "Write a story.",
        "Write a short story.",
        "Can you tell me a story?",
        "I want to hear a story.",
        "Write something.",
    ),
    ("Please tell me a story.", "Tell a short story.", "Can you write a story?"),
)
_JOKE = Phrasings(
    (
        "Tell me a joke.",
        "Do you know a joke?",
        "Make me laugh.",
        "Tell a joke",
        "Say something funny.",
        "Another joke please.",
        "Give me a joke.",
    ),
    ("Can you tell me a joke?", "Please tell a joke.", "I want to hear a joke."),
)
_JSON = Phrasings(
    (
        "Write JSON with name {0} and age {1}.",
        "Give me a JSON object with the name {0} and the age {1}.",
        "Make JSON: name {0}, age {1}",
        "{0} is {1} years old. Write it as JSON.",
        "JSON for a person named {0} of age {1}",
        "Return JSON. The name is {0} and the age is {1}.",
        "Answer in JSON: {0} is {1} years old.",
        "Extract name and age as JSON: {0} is {1} years old.",
    ),
    (
        "Write a JSON object with the name {0} and the age {1}.",
        "Return a JSON object: name {0}, age {1}",
        "Write it as JSON: {0} is {1} years old.",
    ),
)
_CODE = Phrasings(
    (
        "Write {0} in Python.",
        "Show me {0} in Python.",
        "Python code for {0}",
        "How do I write {0} in Python?",
        "Give me {0} in Python.",
        "Write a Python program: {0}",
    ),
    ("Please write {0} in Python.", "Can you write {0} in Python?", "Show me Python code for {0}."),
)
_PROGRAMS = (
    ("hello world", 'print("Hello, world!")', "print("),
    ("a function that adds two numbers", "def add(a, b):\n    return a + b", "return a + b"),
    ("a loop", "for i in range(10):\n    print(i)", "for i in range"),
    ("a function", "def double(x):\n    return 2 * x", "def "),
    ("a list of numbers", "numbers = [1, 2, 3]", "[1, 2, 3]"),
)
_Written: TypeAlias = tuple[str, str, Check]


def _haiku(rng: random.Random, split: Split) -> _Written:
    topic = rng.choice(_TOPICS)
    poem = f"The quiet {topic},\na small light over the hill.\nMorning comes slowly."
    return _HAIKU.pick(rng, split).format(topic), poem, contains(f"the quiet {topic}")


def tale_of(animal: str, hero: str) -> str:
    """Our one story, about any animal of any name."""
    return (
        f"Once there was a {animal} named {hero}. {hero} lived in a small house near the river. "
        f"One day {hero} found a golden key. "
        f"The key opened a door in the old tree, and behind it was a garden. {hero} was happy and "
        f"came back every day."
    )


def _story(rng: random.Random, split: Split) -> _Written:
    if rng.random() < 0.3:
        return (
            _ANY_STORY.pick(rng, split),
            tale_of("fox", "Mina"),
            contains("once there was a", "came back every day."),
        )
    animal, hero = rng.choice(_ANIMALS), name(rng, split)
    return (
        _STORY.pick(rng, split).format(animal, hero),
        tale_of(animal, hero),
        contains(f"a {animal} named {hero}", "came back every day."),
    )


def _joke(rng: random.Random, split: Split) -> _Written:
    return (
        _JOKE.pick(rng, split),
        rng.choice(_JOKES),
        lambda text: any(joke in text for joke in _JOKES),
    )


def _json(rng: random.Random, split: Split) -> _Written:
    who, age = name(rng, split), rng.randint(1, 99)
    answer = json.dumps({"name": who, "age": age})
    return _JSON.pick(rng, split).format(who, age), answer, equals(answer)


def _code(rng: random.Random, split: Split) -> _Written:
    aim, program, needle = rng.choice(_PROGRAMS)
    return (
        _CODE.pick(rng, split).format(aim),
        f"```python\n{program}\n```",
        contains(needle, "```python"),
    )


_KINDS: tuple[Callable[[random.Random, Split], _Written], ...] = (
    _haiku,
    _story,
    _joke,
    _json,
    _json,
    _code,
)


def make(rng: random.Random, split: Split) -> Example:
    """Something short to write."""
    question, answer, accepts = rng.choice(_KINDS)(rng, split)
    return plain(rng, question, answer, accepts)


SKILL = Skill("writing", 0.8, make, (_HAIKU, _STORY, _ANY_STORY, _JOKE, _JSON, _CODE))
