"""Sums and differences up to two digits and products up to ten times ten.

A fixed tenth of all pairs of operands is never trained on, in neither order and
with neither sign. There are only 66 products, so for them one *order* of some
pairs is held out while the other order is trained on.
"""

from __future__ import annotations

import random

from bench.embedded_model.example import Check, Example, Phrasings, Skill, Split, plain

_ADD = Phrasings(
    (
        "What is {0} + {1}?",
        "{0} + {1}",
        "{0}+{1}",
        "{0} + {1} =",
        "What is {0} plus {1}?",
        "Add {0} and {1}.",
        "How much is {0} + {1}?",
        "Compute {0} + {1}.",
        "What is the sum of {0} and {1}?",
        "{0} plus {1}",
        "Calculate {0}+{1}",
        "Please add {0} to {1}.",
        "How much is {0} and {1}?",
        "Sum {0} and {1}",
        "I have {0} apples and get {1} more. How many apples do I have?",
        "There are {0} birds and {1} more come. How many birds are there?",
        "What do {0} and {1} make?",
        "What's {0} + {1}?",
        "what is {0}+{1}",
        "{0}+{1}=?",
        "Can you add {0} and {1}?",
        "Tell me the sum of {0} and {1}.",
    ),
    (
        "Can you compute {0} + {1}?",
        "How much is {0} added to {1}?",
        "What's {0} plus {1}?",
        "Please compute {0} + {1}.",
        "Work out {0} + {1}.",
        "Please calculate {0} + {1}.",
        "Tell me {0} + {1}.",
        "Add the numbers {0} and {1}, please.",
        "Do you know {0} + {1}?",
        "{0} + {1} is what?",
        "I have {0} books and get {1} more. How many books do I have?",
        "Give me the sum of {0} and {1}.",
    ),
)
_SUBTRACT = Phrasings(
    (
        "What is {0} - {1}?",
        "{0} - {1}",
        "{0}-{1}",
        "{0} - {1} =",
        "What is {0} minus {1}?",
        "Subtract {1} from {0}.",
        "How much is {0} - {1}?",
        "Compute {0} - {1}.",
        "{0} minus {1}",
        "Take {1} away from {0}.",
        "Calculate {0}-{1}",
        "I have {0} apples and eat {1}. How many apples are left?",
        "What's {0} - {1}?",
        "what is {0}-{1}",
        "{0}-{1}=?",
        "What is {0} take away {1}?",
        "Can you subtract {1} from {0}?",
        "There were {0} birds and {1} left. How many birds are left?",
    ),
    (
        "Can you compute {0} - {1}?",
        "How much is {0} minus {1}?",
        "What's {0} minus {1}?",
        "Please compute {0} - {1}.",
        "Work out {0} - {1}.",
        "Please calculate {0} - {1}.",
        "Please subtract {1} from {0}.",
        "Tell me {0} - {1}.",
        "Do you know {0} - {1}?",
        "{0} - {1} is what?",
        "I have {0} cakes and eat {1}. How many cakes are left?",
    ),
)
_MULTIPLY = Phrasings(
    (
        "What is {0} * {1}?",
        "{0} * {1}",
        "{0}*{1}",
        "{0} * {1} =",
        "What is {0} times {1}?",
        "Multiply {0} by {1}.",
        "{0} times {1}",
        "How much is {0} * {1}?",
        "Compute {0} * {1}.",
        "What is the product of {0} and {1}?",
        "{0} x {1}",
        "What is {0} x {1}?",
        "Calculate {0}*{1}",
        "How much is {0} times {1}?",
        "Multiply {0} and {1}",
        "what is {0}*{1}",
        "What's {0} * {1}?",
        "{0}*{1}=?",
        "What is {0} × {1}?",
        "There are {0} boxes with {1} pens each. How many pens are there?",
    ),
    (
        "Can you compute {0} * {1}?",
        "What's {0} times {1}?",
        "Please compute {0} * {1}.",
        "Work out {0} * {1}.",
        "Please calculate {0} * {1}.",
        "Do you know {0} times {1}?",
        "Tell me {0} * {1}.",
        "{0} * {1} is what?",
        "How much is {0} x {1}?",
        "Can you multiply {0} and {1}?",
    ),
)


def is_held_out(left: int, right: int, sign: str) -> bool:
    """Whether training never shows this problem."""
    if sign == "*":
        return left < right and (left * 5 + right * 3) % 4 == 0
    low, high = sorted((left, right))
    return (low * 37 + high * 101) % 10 == 3


def solve(left: int, right: int, sign: str) -> int:
    """The result of one operation."""
    return {"+": left + right, "-": left - right, "*": left * right}[sign]


def operands(rng: random.Random, split: Split, sign: str) -> tuple[int, int]:
    """Two numbers of the asked split."""
    largest = 10 if sign == "*" else rng.choice((9, 20, 99, 99, 99))
    while True:
        left, right = rng.randint(0, largest), rng.randint(0, largest)
        if sign == "-" and left < right and rng.random() < 0.8:
            left, right = right, left
        if is_held_out(left, right, sign) == (split == "held_out"):
            return left, right


def number_is(expected: int) -> Check:
    """Accept a text whose last number is the expected one."""

    def check(text: str) -> bool:
        words = text.replace("=", " ").rstrip(" .\n").split()
        return bool(words) and words[-1].rstrip(".") == str(expected)

    return check


def question(rng: random.Random, split: Split, left: int, right: int, sign: str) -> str:
    """One way to ask for the result."""
    phrasings = {"+": _ADD, "-": _SUBTRACT, "*": _MULTIPLY}[sign]
    return phrasings.pick(rng, split).format(left, right)


def make(rng: random.Random, split: Split) -> Example:
    """One problem; the answer repeats it and ends in the result."""
    sign = rng.choice(("+", "+", "-", "-", "*"))
    left, right = operands(rng, split, sign)
    result = solve(left, right, sign)
    return plain(
        rng,
        question(rng, split, left, right, sign),
        f"{left} {sign} {right} = {result}.",
        number_is(result),
    )


SKILL = Skill("arithmetic", 4.0, make, (_ADD, _SUBTRACT, _MULTIPLY))
