from __future__ import annotations

from typing import Any

from engine.request import ReasoningSpan

SPAN = ReasoningSpan(start=(20,), end=(21, 22))
ANY_ID = set(range(1100))


def thinker(follow: Any, budget: int, *, is_open: bool = False) -> Any:
    span = ReasoningSpan(start=SPAN.start, end=SPAN.end, is_open=is_open)
    return follow(None, reasoning=span, thinking_token_budget=budget)


def test_the_end_is_forced_when_the_budget_is_used_up(follow: Any) -> None:
    sequence = thinker(follow, 2)
    sequence.push(30, 20, 31)
    assert sequence.allowed() == ANY_ID
    sequence.push(32)
    assert sequence.allowed() == {21}
    sequence.push(21)
    assert sequence.allowed() == {22}
    sequence.push(22)
    assert sequence.allowed() == ANY_ID


def test_a_thought_that_ends_by_itself_is_not_forced(follow: Any) -> None:
    sequence = thinker(follow, 4, is_open=True)
    sequence.push(31, 21, 22, 33, 34, 35)
    assert sequence.allowed() == ANY_ID


def test_a_budget_of_nothing_ends_an_open_thought_at_once(follow: Any) -> None:
    assert thinker(follow, 0, is_open=True).allowed() == {21}


def test_the_grammar_begins_after_a_forced_end(follow: Any) -> None:
    span = ReasoningSpan(start=SPAN.start, end=SPAN.end, is_open=True)
    sequence = follow(
        "start: /[ab]/",
        begins_after=(SPAN.end,),
        reasoning=span,
        thinking_token_budget=1,
    )
    sequence.push(31, 21, 22)
    assert len(sequence.allowed()) == 2
