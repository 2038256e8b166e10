"""Guided sequences whose request leaves them no token."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from engine.request import FinishReason
from engine.scheduler.plan import RowResult


class Guide:
    """Allows tokens 3 and 4, and says whether the output may end."""

    num_words = 1
    is_complete = False

    def __init__(self, is_whole: bool) -> None:
        self.is_whole = is_whole

    def accept(self, token_ids: list[int]) -> None:
        """Allow it."""

    def fill(self, allowed_W: Any) -> None:
        """As a real one does."""
        allowed_W[:] = np.uint32(1 << 3 | 1 << 4)


def guided(make_world: Any, *, is_whole: bool, num_tokens: int = 1, **sampling: Any) -> Any:
    """The world after so many tokens and one look at what may come next."""
    world = make_world()
    (sequence,) = world.add("a", [1], **sampling)
    sequence.guide = Guide(is_whole)
    for _ in range(num_tokens):
        plan = world.scheduler.schedule(world.limits)
        world.deliver(world.scheduler.settle(plan, [RowResult(3)]))
    plan = world.scheduler.schedule(world.limits)
    allowed, deltas = world.scheduler.guide(plan)
    world.deliver(deltas)
    return world, allowed, deltas, plan


BANS = [{"allowed_token_ids": (5,)}, {"bad_words_token_ids": ((3,), (4,))}]


@pytest.mark.parametrize("bans", BANS)
def test_a_whole_output_that_only_what_is_forbidden_could_follow_stops(
    make_world: Any, bans: Any
) -> None:
    world, allowed, (delta,), plan = guided(make_world, is_whole=True, min_tokens=3, **bans)
    assert (delta.finish_reason, delta.error, delta.token_ids) == (FinishReason.STOP, None, ())
    assert (delta.ends_in_text, delta.stop_token_id) == (True, None)
    assert allowed == {}
    assert world.scheduler.settle(plan, [RowResult(4)]) == [], "what it said after that is dropped"
    assert not world.scheduler.has_work()
    world.scheduler.check()


@pytest.mark.parametrize("bans", BANS)
@pytest.mark.parametrize(("is_whole", "num_tokens"), [(False, 1), (True, 0)])
def test_an_output_that_is_not_whole_or_not_begun_fails(
    make_world: Any, bans: Any, is_whole: bool, num_tokens: int
) -> None:
    _, _, (delta,), _ = guided(make_world, is_whole=is_whole, num_tokens=num_tokens, **bans)
    assert delta.finish_reason is FinishReason.ERROR
    assert "forbid" in delta.error.message


def test_an_output_that_may_go_on_goes_on(make_world: Any) -> None:
    _, allowed, deltas, _ = guided(make_world, is_whole=True, allowed_token_ids=(4, 5))
    assert [words.tolist() for words in allowed.values()] == [[1 << 4]]
    assert deltas == []
