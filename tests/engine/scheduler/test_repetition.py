"""Outputs that repeat themselves end, as vLLM's `repetition_detection` describes it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.request import FinishReason, RepetitionDetection
from engine.scheduler.plan import RowResult
from engine.scheduler.repetition import repeats


def limits(largest: int, smallest: int = 0, count: int = 2) -> RepetitionDetection:
    return RepetitionDetection(max_pattern_size=largest, min_pattern_size=smallest, min_count=count)


@pytest.mark.parametrize(
    ("output", "rule", "is_stuck"),
    [
        ([5, 5], limits(1), True),
        ([5, 5], limits(1, count=3), False),
        ([1, 2, 1, 2], limits(2), True),
        ([1, 2, 1, 2], limits(1), False),
        ([2, 1, 2, 1, 2], limits(2), True),
        ([1, 2, 3, 1, 2, 4], limits(3), False),
        ([7, 7, 7], limits(3, smallest=2), False),
        ([7, 7, 7, 7], limits(3, smallest=2), True),
        ([5, 5], limits(0), False),
        ([5, 5], limits(1, count=1), False),
        ([], limits(3), False),
    ],
)
def test_the_end_of_the_output_decides(
    output: list[int], rule: RepetitionDetection, is_stuck: bool
) -> None:
    assert repeats([9, 9, 9, *output], len(output), rule) is is_stuck


@given(
    st.lists(st.integers(0, 2), max_size=24), st.integers(1, 6), st.integers(0, 6),
    st.integers(2, 4),
)  # fmt: skip
def test_it_is_what_trying_every_pattern_finds(
    output: list[int], largest: int, smallest: int, count: int
) -> None:
    found = any(
        output[-size * count :] == output[-size:] * count
        for size in range(max(1, smallest), largest + 1)
        if size * count <= len(output)
    )
    assert repeats([0, *output], len(output), limits(largest, smallest, count)) is found


def test_a_stuck_sequence_ends_and_its_neighbour_goes_on(make_world: Any) -> None:
    world = make_world()
    world.add("a", [4, 4, 4], max_tokens=9, repetition_detection=limits(2, count=3), min_tokens=4)
    world.add("b", [4, 4, 4], max_tokens=9)
    for token_id in (4, 4, 4, 4):
        plan = world.scheduler.schedule(world.limits)
        world.deliver(world.scheduler.settle(plan, [RowResult(token_id)] * len(plan.rows)))
    assert world.streams["a", 0].last.finish_reason is FinishReason.REPETITION
    assert world.streams["b", 0].last.finish_reason is None
