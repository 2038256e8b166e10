"""Which ids the guided rows of a launched step may choose, once all before it is settled.

The grammar has the first word. Where the request bans ids as well, what is left must not be
nothing: `min_tokens` yields to a grammar that allows only the end; allowed ids and bad words do
not. Where they leave nothing, an output that is whole ends, and any other fails and says so.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from engine.error_info import error_info
from engine.errors import InvalidParameterError, SequenceError
from engine.grammar.guide import Guide
from engine.request import ErrorInfo
from engine.sampling.bad_words import bad_word_bans
from engine.sampling.row import allowed_words
from engine.scheduler.plan import StepPlan
from engine.scheduler.state import SchedulerState
from engine.sequence import Sequence, SequenceStatus

Words = NDArray[np.uint32]


def allowed_ids(
    state: SchedulerState, plan: StepPlan
) -> tuple[dict[int, Words], list[tuple[Sequence, ErrorInfo | None]]]:
    """Bits of the ids that guided rows may choose, by index in the plan; and the sequences for
    which there is none, with what is wrong, if anything is."""
    allowed: dict[int, Words] = {}
    ends: list[tuple[Sequence, ErrorInfo | None]] = []
    for index, row in enumerate(plan.rows):
        guide = row.sequence.guide
        if guide is None or not row.is_sampling or row.sequence.status is SequenceStatus.FINISHED:
            continue
        try:
            allowed[index] = _allowed_words(state, row.sequence, guide)
        except (SequenceError, InvalidParameterError) as error:
            ends.append((row.sequence, error_info(error)))
            continue
        if not allowed[index].any():
            del allowed[index]
            is_done = guide.is_whole and row.sequence.num_output_tokens > 0
            ends.append((row.sequence, None if is_done else _dead_end(row.sequence)))
    return allowed, ends


def _allowed_words(state: SchedulerState, sequence: Sequence, guide: Guide) -> Words:
    words = np.empty(guide.num_words, np.uint32)
    guide.fill(words)
    sampling = sequence.sampling
    if sampling.allowed_token_ids is not None:
        words &= _bits(sampling.allowed_token_ids, words)
    if sampling.bad_words_token_ids:
        single = (word[0] for word in sampling.bad_words_token_ids if len(word) == 1)
        words &= ~_bits((*single, *bad_word_bans(sequence)), words)
    if sequence.num_output_tokens < sampling.min_tokens:
        kept = words & ~_bits((*state.eos_token_ids, *sampling.stop_token_ids), words)
        return kept if kept.any() else words
    return words


def _bits(token_ids: Iterable[int], words: Words) -> Words:
    return allowed_words(token_ids, 32 * len(words))


def _dead_end(sequence: Sequence) -> ErrorInfo:
    grammar = sequence.request.grammar
    param = "thinking_token_budget" if grammar is None else grammar.param
    return ErrorInfo(
        "InvalidParameterError",
        f"Invalid '{param}': after what was generated it allows only tokens that "
        "'allowed_token_ids' or 'bad_words' forbid.",
        param,
        "invalid_value",
    )
