"""Think in `<think>` when asked: digit by digit, then the answer."""

from __future__ import annotations

import random

from bench.embedded_model.example import Check, Example, Phrasings, Skill, Split, assistant, user
from bench.embedded_model.skills import arithmetic, facts, greeting, identity, unknown
from bench.embedded_model.skills.arithmetic import is_held_out, number_is, operands, solve

_ASKED = Phrasings(
    (
        "Think step by step: what is {0}?",
        "Think first. What is {0}?",
        "What is {0}? Think step by step.",
        "Think about it: {0}",
        "Think carefully: how much is {0}?",
        "{0}? Think first.",
        "Show your thinking: {0}",
        "Think before you answer: what is {0}?",
    ),
    (
        "Think step by step: how much is {0}?",
        "Please think first: what is {0}?",
        "What is {0}? Think about it first.",
        "Think carefully: what is {0}?",
    ),
)
_THREE = Phrasings(
    (
        "What is {0} + {1} + {2}?",
        "Add {0}, {1} and {2}.",
        "{0} + {1} + {2}",
        "How much is {0} + {1} + {2}?",
    ),
    (
        "What is the sum of {0}, {1} and {2}?",
        "Compute {0} + {1} + {2}.",
        "Please add {0}, {1} and {2}.",
    ),
)
_TALK = (
    (greeting, "The user is polite. I answer politely."),
    (identity, "The user asks about servax or about me. I know this."),
    (facts, "I know this from my small tables."),
    (unknown, "I do not know this. I say so."),
)


def steps(left: int, right: int, sign: str) -> str:
    """How to find the result, one short step after the other."""
    result = solve(left, right, sign)
    if sign == "*":
        return f"{left} times {right} is {result}."
    if sign == "-" and left < right:
        return f"{left} is less than {right}. {right} - {left} = {right - left}. So it is {result}."
    if right < 10 or right % 10 == 0:
        return f"{left} {sign} {right} = {result}."
    middle = solve(left, right - right % 10, sign)
    return (
        f"{left} {sign} {right - right % 10} = {middle}. {middle} {sign} {right % 10} = {result}."
    )


def shows_held_out(left: int, right: int, sign: str) -> bool:
    """Whether a step on the way is a problem that training must not show."""
    tens = right - right % 10
    return is_held_out(left, tens, sign) or is_held_out(solve(left, tens, sign), right % 10, sign)


def thought_then(accepts: Check) -> Check:
    """Accept a thought in its tags followed by an answer that the inner check accepts."""

    def check(text: str) -> bool:
        thought, closed, answer = text.partition("</think>")
        return thought.strip().startswith("<think>") and bool(closed) and accepts(answer)

    return check


def _problem(rng: random.Random, split: Split) -> Example:
    sign = rng.choice("++--*")
    left, right = operands(rng, split, sign)
    while split == "training" and shows_held_out(left, right, sign):
        left, right = operands(rng, split, sign)
    expression, result = f"{left} {sign} {right}", solve(left, right, sign)
    answer = assistant(f"{expression} = {result}.", reasoning=steps(left, right, sign))
    if rng.random() < 0.5:
        return Example(
            (user(_ASKED.pick(rng, split).format(expression)),),
            answer,
            thought_then(number_is(result)),
            enable_thinking=rng.random() < 0.5,
        )
    question = arithmetic.question(rng, split, left, right, sign)
    return Example((user(question),), answer, thought_then(number_is(result)), enable_thinking=True)


def _three_numbers(rng: random.Random, split: Split) -> Example:
    while True:
        first, second, third = (rng.randint(1, 30) for _ in range(3))
        if arithmetic.is_held_out(first, second, "+") == (
            split == "held_out"
        ) and not arithmetic.is_held_out(first + second, third, "+"):
            break
    total = first + second + third
    thought = f"{first} + {second} = {first + second}. {first + second} + {third} = {total}."
    answer = assistant(f"{first} + {second} + {third} = {total}.", reasoning=thought)
    return Example(
        (user(_THREE.pick(rng, split).format(first, second, third)),),
        answer,
        thought_then(number_is(total)),
        enable_thinking=True,
    )


def _talk(rng: random.Random, split: Split) -> Example:
    module, thought = rng.choice(_TALK)
    inner = module.make(rng, split)
    answer = assistant(str(inner.answer["content"]), reasoning=thought)
    return Example(inner.messages, answer, thought_then(inner.accepts), enable_thinking=True)


def make(rng: random.Random, split: Split) -> Example:
    """A problem to think about, asked for in words or by `enable_thinking`."""
    kind = rng.random()
    if kind < 0.7:
        return _problem(rng, split)
    return _three_numbers(rng, split) if kind < 0.85 else _talk(rng, split)


SKILL = Skill("thinking", 1.6, make, (_ASKED, _THREE))
