"""Remember what the user said in an earlier turn."""

from __future__ import annotations

import random
from typing import TypeAlias

from bench.embedded_model.example import (
    Example,
    Message,
    Phrasings,
    Skill,
    Split,
    assistant,
    contains,
    typed,
    user,
)
from bench.embedded_model.words import city, name

_Subject: TypeAlias = tuple[Phrasings, str, Phrasings, str]

_COLOURS = (
    "red blue green yellow black white brown purple pink orange grey golden silver turquoise violet"
).split()
_PETS = (
    "cat dog horse rabbit bird fish hamster mouse turtle parrot snake goat sheep duck hen".split()
)
_NAME: _Subject = (
    Phrasings(
        (
            "My name is {0}.",
            "I am {0}.",
            "Hello, I am {0}.",
            "Hi, my name is {0}.",
            "I'm {0}.",
            "Call me {0}.",
            "Hello! I'm {0}.",
            "People call me {0}.",
            "Hey, {0} here.",
            "This is {0}.",
            "Please call me {0}.",
            "You can call me {0}.",
        ),
        (
            "Hello, my name is {0}.",
            "Hey, I am {0}.",
            "Hi, I'm {0}.",
            "Hello, {0} here.",
            "Hi! You can call me {0}.",
        ),
    ),
    "Nice to meet you, {0}!",
    Phrasings(
        (
            "What is my name?",
            "Who am I?",
            "Do you remember my name?",
            "What's my name?",
            "Tell me my name.",
            "Do you know my name?",
            "How am I called?",
            "Say my name.",
            "Can you tell me who I am?",
            "And what is my name?",
        ),
        (
            "What was my name?",
            "Can you tell me my name?",
            "Do you still know my name?",
            "Do you know who I am?",
            "Please tell me my name.",
        ),
    ),
    "Your name is {0}.",
)
_PLACE: _Subject = (
    Phrasings(
        (
            "I live in {0}.",
            "I am from {0}.",
            "My home is in {0}.",
            "I come from {0}.",
            "My city is {0}.",
        ),
        ("Hello, I live in {0}.", "I'm from {0}.", "My home city is {0}."),
    ),
    "I will remember that you live in {0}.",
    Phrasings(
        (
            "Where do I live?",
            "Where am I from?",
            "What is my city?",
            "Do you remember where I live?",
            "Tell me where I live.",
        ),
        ("Where is my home?", "Do you know where I live?", "In which city do I live?"),
    ),
    "You live in {0}.",
)
_COLOUR: _Subject = (
    Phrasings(
        (
            "My favourite colour is {0}.",
            "I like the colour {0}.",
            "I love {0}.",
            "The colour I like most is {0}.",
        ),
        ("My favorite color is {0}.", "I really like the colour {0}."),
    ),
    "{0} is a nice colour.",
    Phrasings(
        (
            "What is my favourite colour?",
            "Which colour do I like?",
            "What colour do I love?",
            "Do you remember my favourite colour?",
        ),
        (
            "What's my favorite color?",
            "Which colour do I like most?",
            "Tell me my favourite colour.",
        ),
    ),
    "Your favourite colour is {0}.",
)
_PET: _Subject = (
    Phrasings(
        ("I have a {0}.", "My pet is a {0}.", "At home I have a {0}.", "I own a {0}."),
        ("I have got a {0}.", "There is a {0} at my home."),
    ),
    "A {0} is a nice pet.",
    Phrasings(
        (
            "What pet do I have?",
            "Which animal do I have?",
            "What is my pet?",
            "Do you remember my pet?",
        ),
        ("Which pet do I have?", "What animal do I own?", "Tell me what pet I have."),
    ),
    "You have a {0}.",
)
_SUBJECTS = (_NAME, _NAME, _NAME, _PLACE, _COLOUR, _PET)
_BETWEEN = (
    ("Thanks!", "You are welcome!"),
    ("How are you?", "I am fine, thank you. How can I help you?"),
    ("What is 2 + 2?", "2 + 2 = 4."),
    ("I like music.", "That is nice!"),
    ("The weather is good today.", "That is nice!"),
    ("Ok.", "How can I help you?"),
)


def _value(subject: _Subject, rng: random.Random, split: Split) -> str:
    if subject is _NAME:
        return name(rng, split)
    if subject is _PLACE:
        return city(rng, split)
    return rng.choice(_COLOURS if subject is _COLOUR else _PETS)


def _small_talk(rng: random.Random) -> list[Message]:
    question, answer = rng.choice(_BETWEEN)
    return [user(question), assistant(answer)]


def make(rng: random.Random, split: Split) -> Example:
    """The user tells something, perhaps talks of something else, and asks for it back."""
    subject = rng.choice(_SUBJECTS)
    told, reply, asked, answer = subject
    value = _value(subject, rng, split)
    if rng.random() < 0.2 and split == "training":
        return Example(
            (user(told.pick(rng, split).format(value)),),
            assistant(capitalised(reply.format(value))),
            contains(value),
        )
    messages = [
        user(told.pick(rng, split).format(value)),
        assistant(capitalised(reply.format(value))),
    ]
    if rng.random() < 0.4:
        messages += _small_talk(rng)
    messages.append(user(typed(rng, asked.pick(rng, split))))
    return Example(tuple(messages), assistant(answer.format(value)), contains(value))


def capitalised(text: str) -> str:
    """The text with a capital first letter and the rest as it was."""
    return text[:1].upper() + text[1:]


SKILL = Skill(
    "memory",
    1.2,
    make,
    tuple(phrasings for subject in _SUBJECTS[2:] for phrasings in (subject[0], subject[2])),
)
