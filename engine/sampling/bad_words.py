"""Bad words of several tokens: which ids would complete one now. Host only.

A bad word of one token is banned for good (`engine.sampling.row` puts it into the bias). Of a
longer one, the last token is banned whenever the tokens before it were just generated. As in vLLM
only generated tokens count: a word that begins in the prompt may be completed.
"""

from __future__ import annotations

from engine.sequence import Sequence

MAX_STEP_BANS = 16
"""Ids that can be banned for one row in one step (`ban_RB` has this many columns)."""


def bad_word_bans(sequence: Sequence) -> tuple[int, ...]:
    """Ids that would complete a bad word of several tokens, without repeats, ascending.

    Reads the settled output, so nothing of the sequence may be pending: `settle` comes first.
    """
    output_ids = tuple(sequence.token_ids[sequence.num_prompt_tokens :])
    words = sequence.sampling.bad_words_token_ids
    return tuple(sorted({word[-1] for word in words if _is_begun(word, output_ids)}))


def max_step_bans(words: tuple[tuple[int, ...], ...]) -> int:
    """Most ids `bad_word_bans` can return at once, for admission to refuse what exceeds
    `MAX_STEP_BANS`.

    Words begun at the same time have beginnings that are all endings of the longest of them.
    """
    last_ids_by_beginning: dict[tuple[int, ...], set[int]] = {}
    for word in words:
        if len(word) > 1:
            last_ids_by_beginning.setdefault(word[:-1], set()).add(word[-1])
    return max(
        (
            len(set().union(*_of_endings(beginning, last_ids_by_beginning)))
            for beginning in last_ids_by_beginning
        ),
        default=0,
    )


def _of_endings(
    beginning: tuple[int, ...], last_ids_by_beginning: dict[tuple[int, ...], set[int]]
) -> list[set[int]]:
    endings = (beginning[first:] for first in range(len(beginning)))
    return [last_ids_by_beginning[each] for each in endings if each in last_ids_by_beginning]


def _is_begun(word: tuple[int, ...], token_ids: tuple[int, ...]) -> bool:
    num_before = len(word) - 1
    return num_before > 0 and token_ids[-num_before:] == word[:-1]
