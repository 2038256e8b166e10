"""Guides are made in a thread: every sequence gets its own, whenever that is."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from engine.grammar.library import GuideLibrary
from engine.grammar.vocabulary import Vocabulary
from engine.request import GenerateRequest, Grammar, SamplingParams
from engine.sequence import Sequence, SequenceStatus


@pytest.fixture
def library(vocabulary: Vocabulary) -> GuideLibrary:
    return GuideLibrary(lambda: vocabulary)


@pytest.fixture
def switching() -> Any:
    """Threads take turns as often as they can."""
    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval_s)


def guided(source: str = 'start: "7"') -> Sequence:
    request = GenerateRequest(
        request_id="r",
        prompt_token_ids=(5, 6),
        sampling=SamplingParams(max_tokens=4),
        grammar=Grammar(source=source),
    )
    return Sequence(request, 0, [5, 6])


@pytest.mark.usefixtures("switching")
def test_no_guide_is_lost_that_is_ready_while_one_looks(library: GuideLibrary) -> None:
    for _ in range(300):
        sequence = guided()
        library.open([sequence])
        ready = []
        while not ready:
            ready = library.take_ready()
            assert ready or library.num_waiting
        assert ready[0][0] is sequence


def test_who_has_left_is_not_compiled_for(library: GuideLibrary) -> None:
    sequence = guided("start: (((")
    sequence.status = SequenceStatus.FINISHED
    library.open([sequence])
    ready: list[Any] = []
    while not ready:
        ready = library.take_ready()
    assert "ended before" in ready[0][1].message
