from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from engine.sampling import bad_word_bans, max_step_bans


def test_the_last_token_is_banned_when_the_others_were_just_generated(sequence):
    words = ((5, 6, 7), (6, 8), (5, 9), (6, 7))
    each = sequence((1,), (5, 6), bad_words_token_ids=words)
    assert bad_word_bans(each) == (7, 8)


def test_the_prompt_does_not_begin_a_bad_word(sequence):
    assert bad_word_bans(sequence((5,), bad_words_token_ids=((5, 6),))) == ()
    assert bad_word_bans(sequence((5,), (6,), bad_words_token_ids=((5, 6, 7),))) == ()


def test_words_of_one_token_are_left_to_the_bias(sequence):
    assert bad_word_bans(sequence((1,), (5,), bad_words_token_ids=((5,), (6,)))) == ()


def test_the_bound_on_bans_counts_words_that_can_be_begun_together():
    assert max_step_bans(()) == 0
    assert max_step_bans(((1,), (2,))) == 0
    assert max_step_bans(((1, 2, 3), (2, 4), (2, 5), (9, 6))) == 3


@given(
    words=st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=4).map(tuple), max_size=8),
    output=st.lists(st.integers(0, 2), max_size=8),
)
def test_no_output_ever_bans_more_than_the_bound(sequence, words, output):
    each = sequence((1,), tuple(output), bad_words_token_ids=tuple(words))
    assert len(bad_word_bans(each)) <= max_step_bans(tuple(words))
