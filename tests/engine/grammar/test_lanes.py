"""Whose grammar is compiled next."""

from __future__ import annotations

import threading
import time

import pytest

from engine.grammar.lanes import SMALL_BYTES, Job, Lane, Lanes


class Held:
    """Work that holds its lane until it is let go."""

    def __init__(self) -> None:
        self.has_begun, self.may_end = threading.Event(), threading.Event()

    def __call__(self) -> None:
        self.has_begun.set()
        assert self.may_end.wait(60)


@pytest.fixture
def held() -> Held:
    return Held()


def test_a_small_source_does_not_wait_for_a_large_one(held: Held) -> None:
    lanes = Lanes("test")
    large = lanes.submit("a", SMALL_BYTES + 1, held)
    assert held.has_begun.wait(10)
    assert lanes.submit("a", SMALL_BYTES, lambda: "small").result.result(10) == "small"
    assert not large.result.done()
    held.may_end.set()
    large.result.result(10)


def test_a_tenant_with_a_thousand_grammars_lets_another_go_first(held: Held) -> None:
    lane, order = Lane("test"), list[str]()
    first = lane.submit("many", held)
    assert held.has_begun.wait(10)

    def note(name: str) -> None:
        order.append(name)
        time.sleep(0.001)

    jobs = [lane.submit("many", lambda: note("many")) for _ in range(1000)]
    few = lane.submit("few", lambda: note("few"))
    held.may_end.set()
    few.result.result(10)
    assert order.index("few") <= 1
    for job in (first, *jobs):
        job.result.result(10)


def test_who_gives_up_is_not_compiled_for(held: Held) -> None:
    lane = Lane("test")
    lane.submit("a", held)
    assert held.has_begun.wait(10)
    done: list[int] = []
    given_up = lane.submit("a", lambda: done.append(1))
    assert given_up.result.cancel()
    last = lane.submit("a", lambda: done.append(2))
    held.may_end.set()
    last.result.result(10)
    assert done == [2]


def test_an_error_is_told_and_the_lane_goes_on() -> None:
    lane = Lane("test")

    def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        lane.submit("a", fail).result.result(10)
    assert lane.submit("a", lambda: 3).result.result(10) == 3


def test_what_is_known_needs_no_lane() -> None:
    job = Job.done("known")
    assert job.begun.done()
    assert job.result.result(0) == "known"
