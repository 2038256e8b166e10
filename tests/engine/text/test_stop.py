"""Stop strings: how the text was cut never matters."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from engine.text import StopStringMatcher

TEXT = st.text(alphabet="abE", max_size=24)
STOPS = st.lists(st.text(alphabet="abE", min_size=1, max_size=5), min_size=1, max_size=4)


def run(pieces: list[str], stops: list[str], *, include_stop: bool) -> tuple[str, str | None]:
    matcher = StopStringMatcher(stops, include_stop=include_stop)
    shown = ""
    for piece in pieces:
        match = matcher.push(piece)
        shown += match.text
        if match.stop is not None:
            return shown, match.stop
    return shown + matcher.flush(), None


def expected(text: str, stops: list[str], *, include_stop: bool) -> tuple[str, str | None]:
    """The definition: shortest prefix that ends in a stop; the longest such stop."""
    for end in range(1, len(text) + 1):
        found = [stop for stop in stops if text[:end].endswith(stop)]
        if found:
            stop = max(found, key=len)
            return text[: end if include_stop else end - len(stop)], stop
    return text, None


@given(TEXT, STOPS, st.data(), st.booleans())
def test_every_split_of_a_text_stops_at_the_same_place(
    text: str, stops: list[str], data: st.DataObject, include_stop: bool
) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    bounds = [0, *cuts, len(text)]
    pieces = [text[a:b] for a, b in itertools.pairwise(bounds)]
    wanted = expected(text, stops, include_stop=include_stop)
    assert run(pieces, stops, include_stop=include_stop) == wanted


@given(TEXT, STOPS)
def test_only_a_possible_beginning_of_a_stop_is_held_back(text: str, stops: list[str]) -> None:
    matcher = StopStringMatcher(stops)
    shown = ""
    for character in text:
        match = matcher.push(character)
        shown += match.text
        if match.stop is not None:
            return
    held = matcher.flush()
    assert shown + held == text
    assert held == "" or any(stop.startswith(held) for stop in stops)


def test_a_stop_completed_before_min_tokens_is_ordinary_text() -> None:
    matcher = StopStringMatcher(["END"])
    assert matcher.push("an END", can_stop=False).stop is None
    assert matcher.push(" E").text == " "
    assert matcher.push("ND").stop == "END"


def test_without_stops_text_passes_through() -> None:
    assert StopStringMatcher([]).push("x" * 10).text == "x" * 10
