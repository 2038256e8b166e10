"""Stop strings over outputs that branch."""

from __future__ import annotations

import itertools

import pytest

from engine.text import IncrementalDetokenizer, StopStringMatcher, TextWatch, Tokenizer


def watch(tokenizer: Tokenizer, *stops: str, min_tokens: int = 0) -> TextWatch:
    return TextWatch(IncrementalDetokenizer(tokenizer), StopStringMatcher(stops), min_tokens)


def stopped_at(text: TextWatch, token_ids: list[int]) -> int | None:
    for index, token_id in enumerate(token_ids):
        text = text.after(token_id)
        if text.is_stopped:
            return index
    return None


@pytest.mark.parametrize(
    ("kind", "tails"),
    [
        ("byte_level", ["é hello", "é hell", " hello"]),
        ("byte_fallback", ["é hello", "é hell", " hello"]),
        ("word_piece", ["a worlds", "hello world", "a"]),
    ],
)
def test_branches_that_grow_together_do_not_disturb_each_other(
    tokenizers_by_kind: dict[str, Tokenizer], kind: str, tails: list[str]
) -> None:
    tokenizer = tokenizers_by_kind[kind]
    stem = watch(tokenizer, tails[0], "never")
    for token_id in tokenizer.encode("hello"):
        stem = stem.after(token_id)
    branches = dict.fromkeys(tails, stem)
    stopped: set[str] = set()
    for step in itertools.zip_longest(*map(tokenizer.encode, tails)):
        for tail, token_id in zip(tails, step, strict=True):
            if token_id is not None:
                branches[tail] = branches[tail].after(token_id)
                stopped |= {tail} if branches[tail].is_stopped else set()
    assert stopped == {tails[0]}


def test_a_stop_string_counts_after_min_tokens(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("abab")
    first = stopped_at(watch(tokenizer, "b"), ids)
    assert first is not None
    later = stopped_at(watch(tokenizer, "b", min_tokens=first + 1), ids)
    assert later is None or later > first
