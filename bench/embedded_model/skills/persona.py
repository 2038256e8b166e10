"""Follow the name and the role that a system prompt gives."""

from __future__ import annotations

import random

from bench.embedded_model.example import (
    Example,
    Phrasings,
    Skill,
    Split,
    assistant,
    contains,
    system,
    typed,
    user,
)
from bench.embedded_model.words import name

ROLES = (
    "helpful assistant",
    "friendly assistant",
    "cook",
    "librarian",
    "pirate",
    "doctor",
    "teacher",
    "gardener",
    "pilot",
    "guide",
    "shop assistant",
    "support agent",
    "robot",
    "painter",
    "farmer",
    "baker",
    "travel agent",
    "poet",
    "singer",
    "coach",
    "clerk",
)
_SYSTEM = Phrasings(
    (
        "You are {0}, a {1}.",
        "You are {0}.",
        "Your name is {0}.",
        "Your name is {0} and you are a {1}.",
        "You are a {1} called {0}.",
        "You are a {1} named {0}.",
        "Act as {0}, a {1}.",
        "You are called {0}.",
        "You are {0}, a {1}. Be polite.",
        "You are {0}, a {1}. Answer briefly.",
        "Your name is {0}. You are a {1}. Be kind.",
        "You play {0}, a {1}.",
        "From now on you are {0}.",
        "Always say that your name is {0}.",
        "You are {0}, the {1} of a small company.",
        "You're {0}, a {1}.",
        "You are {0}. You answer in one sentence.",
        "Your name is {0}. Answer in short sentences.",
    ),
    (
        "You are {0}, a {1}. Answer kindly.",
        "You are {0}. Be polite.",
        "Your name is {0}. Be brief.",
        "You are a polite {1} called {0}.",
        "Act as a {1} named {0}.",
        "You are {0}, a very good {1}.",
        "You are {0}, a {1} who answers briefly.",
    ),
)
_ASK_NAME = Phrasings(
    (
        "Who are you?",
        "What is your name?",
        "What's your name?",
        "Tell me your name.",
        "Who am I talking to?",
        "Introduce yourself.",
        "Hello, who are you?",
        "Hi! What is your name?",
        "What should I call you?",
        "Do you have a name?",
        "Your name?",
        "Who is this?",
        "Please introduce yourself.",
        "How are you called?",
        "What are you called?",
        "May I know your name?",
        "Say your name.",
    ),
    (
        "Hello, what is your name?",
        "Can you tell me your name?",
        "Hi, who are you?",
        "Please tell me your name.",
        "May I ask who you are?",
        "And who are you?",
        "What do people call you?",
    ),
)
_ASK_ROLE = Phrasings(
    (
        "What is your job?",
        "What do you do?",
        "What is your role?",
        "What are you?",
        "What is your work?",
        "What kind of work do you do?",
    ),
    ("What is your job here?", "Tell me your job.", "What work do you do?"),
)


def make(rng: random.Random, split: Split) -> Example:
    """A system prompt that names the model, then a question about the name or role."""
    given, role = name(rng, split), rng.choice(ROLES)
    prompt = _SYSTEM.pick(rng, split).format(given, role)
    if role in prompt and rng.random() < 0.2:
        question, answer, needle = _ASK_ROLE.pick(rng, split), f"I am {given}, a {role}.", role
    else:
        question, answer, needle = _ASK_NAME.pick(rng, split), f"I am {given}.", given
    return Example(
        (system(prompt), user(typed(rng, question))), assistant(answer), contains(needle)
    )


SKILL = Skill("persona", 1.5, make, (_SYSTEM, _ASK_NAME, _ASK_ROLE))
