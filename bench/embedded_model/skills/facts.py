"""Small facts from our own tables: colours, opposites, days, months, capitals, counting."""

from __future__ import annotations

import random
from collections.abc import Callable

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

_DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
_MONTHS = (
    "January February March April May June July August September October November December".split()
)
_COLOURS = (
    ("grass", "green"),
    ("the sky", "blue"),
    ("snow", "white"),
    ("blood", "red"),
    ("coal", "black"),
    ("a lemon", "yellow"),
    ("a banana", "yellow"),
    ("milk", "white"),
    ("a tomato", "red"),
    ("chocolate", "brown"),
    ("the sun", "yellow"),
    ("a frog", "green"),
    ("the sea", "blue"),
    ("an orange", "orange"),
    ("a carrot", "orange"),
    ("a strawberry", "red"),
    ("an elephant", "grey"),
)
_OPPOSITES = tuple(
    pair.split("/")
    for pair in (
        "hot/cold big/small up/down left/right old/new fast/slow day/night good/bad black/white "
        "open/closed happy/sad high/low "
        "long/short light/dark early/late full/empty hard/soft wet/dry rich/poor strong/weak "
        "loud/quiet clean/dirty "
        "first/last near/far true/false yes/no"
    ).split()
)
_CAPITALS = tuple(
    pair.split("/")
    for pair in (
        "France/Paris|Germany/Berlin|Italy/Rome|Spain/Madrid|Japan/Tokyo|Norway/Oslo|Austria/Vienna|Peru/Lima|Egypt/Cairo|Portugal/Lisbon|"
        "Greece/Athens|England/London|Ireland/Dublin|Poland/Warsaw|Finland/Helsinki|Sweden/Stockholm|China/Beijing|Russia/Moscow|"
        "Denmark/Copenhagen|Kenya/Nairobi|Canada/Ottawa|Hungary/Budapest|India/New "
        "Delhi|Switzerland/Bern|Belgium/Brussels"
    ).split("|")
)
_COLOUR = Phrasings(
    (
        "What colour is {0}?",
        "What is the colour of {0}?",
        "Which colour has {0}?",
        "What color is {0}?",
        "Tell me the colour of {0}.",
        "Colour of {0}?",
        "Which color is {0}?",
    ),
    (
        "Which colour is {0}?",
        "What is the color of {0}?",
        "Tell me what colour {0} is.",
        "Do you know the colour of {0}?",
    ),
)
_OPPOSITE = Phrasings(
    (
        "What is the opposite of {0}?",
        "Opposite of {0}?",
        "What's the opposite of {0}?",
        "Tell me the opposite of {0}.",
        "Which word is the opposite of {0}?",
        "Give me the opposite of {0}.",
        "Name the opposite of {0}",
        "The opposite of {0} is what?",
    ),
    (
        "Please tell me the opposite of {0}.",
        "What word is the opposite of {0}?",
        "Do you know the opposite of {0}?",
    ),
)
_CAPITAL = Phrasings(
    (
        "What is the capital of {0}?",
        "Capital of {0}?",
        "What's the capital of {0}?",
        "Tell me the capital of {0}.",
        "Which city is the capital of {0}?",
        "Name the capital of {0}",
        "Do you know the capital of {0}?",
        "The capital of {0} is which city?",
        "What is the capital city of {0}?",
    ),
    (
        "Please tell me the capital of {0}.",
        "What city is the capital of {0}?",
        "Give me the capital of {0}.",
        "Can you name the capital of {0}?",
    ),
)
_NEXT = Phrasings(
    (
        "What comes after {0}?",
        "What is after {0}?",
        "Which {1} comes after {0}?",
        "What {1} follows {0}?",
        "Which {1} is after {0}?",
        "What is the next {1} after {0}?",
        "Name the {1} after {0}.",
    ),
    ("What {1} comes after {0}?", "Which {1} follows {0}?", "Tell me the {1} after {0}."),
)
_PREVIOUS = Phrasings(
    (
        "What comes before {0}?",
        "What is before {0}?",
        "Which {1} comes before {0}?",
        "Which {1} is before {0}?",
        "Name the {1} before {0}.",
    ),
    ("What {1} comes before {0}?", "Tell me the {1} before {0}.", "What is the {1} before {0}?"),
)
_COUNT = Phrasings(
    (
        "Count from {0} to {1}.",
        "Count {0} to {1}",
        "Please count from {0} to {1}.",
        "List the numbers from {0} to {1}.",
        "Can you count from {0} to {1}?",
        "Write the numbers from {0} to {1}.",
        "Give me the numbers {0} to {1}.",
        "Say the numbers from {0} to {1}.",
    ),
    (
        "Can you count {0} to {1}?",
        "Print the numbers from {0} to {1}.",
        "Please list the numbers from {0} to {1}.",
        "Start at {0} and count to {1}.",
    ),
)
_BIGGER = Phrasings(
    (
        "Which is bigger, {0} or {1}?",
        "What is bigger: {0} or {1}?",
        "Which number is larger, {0} or {1}?",
        "Is {0} or {1} bigger?",
        "Which is more, {0} or {1}?",
    ),
    (
        "What is larger, {0} or {1}?",
        "Which number is bigger, {0} or {1}?",
        "Tell me which is bigger, {0} or {1}.",
    ),
)
_LISTS = Phrasings(
    (
        "Name the {0}.",
        "List the {0}.",
        "What are the {0}?",
        "Tell me the {0}.",
        "Which are the {0}?",
        "Write down the {0}",
        "Say the {0}.",
    ),
    ("Please list the {0}.", "Can you name the {0}?", "Give me the {0}."),
)


def _pair(rng: random.Random, split: Split) -> tuple[str, str, Check]:
    phrasings, table, shape = rng.choice(
        (
            (_COLOUR, _COLOURS, "{0} is {1}."),
            (_OPPOSITE, _OPPOSITES, "The opposite of {0} is {1}."),
            (_CAPITAL, _CAPITALS, "The capital of {0} is {1}."),
        )
    )
    left, right = rng.choice(table)
    if table is _OPPOSITES and rng.random() < 0.5:
        left, right = right, left
    answer = shape.format(left, right)
    return (
        phrasings.pick(rng, split).format(left),
        answer[0].upper() + answer[1:],
        contains(f" {right}."),
    )


def _neighbour(rng: random.Random, split: Split) -> tuple[str, str, Check]:
    table, noun = rng.choice(((_DAYS, "day"), (_MONTHS, "month")))
    place = rng.randrange(len(table))
    if rng.random() < 0.5:
        phrasings, other, word = _NEXT, table[(place + 1) % len(table)], "after"
    else:
        phrasings, other, word = _PREVIOUS, table[place - 1], "before"
    return (
        phrasings.pick(rng, split).format(table[place], noun),
        f"The {noun} {word} {table[place]} is {other}.",
        contains(f" {other}."),
    )


def _counting(rng: random.Random, split: Split) -> tuple[str, str, Check]:
    start = 1 if rng.random() < 0.6 else rng.randint(0, 80)
    end = start + rng.randint(2, 19)
    answer = ", ".join(str(number) for number in range(start, end + 1)) + "."
    return _COUNT.pick(rng, split).format(start, end), answer, equals(answer)


def _larger(rng: random.Random, split: Split) -> tuple[str, str, Check]:
    left, right = rng.sample(range(100), 2)
    answer = f"{max(left, right)} is bigger than {min(left, right)}."
    return _BIGGER.pick(rng, split).format(left, right), answer, equals(answer)


def _whole_list(rng: random.Random, split: Split) -> tuple[str, str, Check]:
    noun, table = rng.choice((("days of the week", _DAYS), ("months of the year", _MONTHS)))
    answer = ", ".join(table[:-1]) + " and " + table[-1] + "."
    return _LISTS.pick(rng, split).format(noun), answer, equals(answer)


_KINDS: tuple[Callable[[random.Random, Split], tuple[str, str, Check]], ...] = (
    _pair,
    _pair,
    _pair,
    _neighbour,
    _counting,
    _larger,
    _whole_list,
)


def make(rng: random.Random, split: Split) -> Example:
    """A question that one of our small tables answers."""
    question, answer, accepts = rng.choice(_KINDS)(rng, split)
    return plain(rng, question, answer, accepts)


SKILL = Skill(
    "facts", 1.3, make, (_COLOUR, _OPPOSITE, _CAPITAL, _NEXT, _PREVIOUS, _COUNT, _BIGGER, _LISTS)
)
