"""What a sequence puts into its slot of device state when it is given one. Host only (numpy)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.request import MAX_LOGPROB_TOKEN_IDS
from engine.sampling.parameters import uses_slot_row
from engine.sequence import Sequence

PROMPT_BIT = 1 << 30
"""Set in a token's count when the prompt contains it; the bits below count the output."""


class SlotRow(NamedTuple):
    """One row of `engine.sampling.state.SlotState`, as numpy arrays, without the last token.

    Attributes:
        token_counts_V: int32, see `PROMPT_BIT`.
        bias_V: float32 added to the logits; -inf bans.
        allowed_W: uint32, bit v % 32 of word v // 32 is set when id v is allowed.
        stop_W: uint32 in the same layout: ids banned until min_tokens have been generated.
        scored_K: int32, ids whose log-probabilities are asked for, then zeros.
    """

    token_counts_V: NDArray[np.int32]
    bias_V: NDArray[np.float32]
    allowed_W: NDArray[np.uint32]
    stop_W: NDArray[np.uint32]
    scored_K: NDArray[np.int32]


def num_words(vocab_size: int) -> int:
    """32-bit words of a bitmask over the vocabulary."""
    return -(-vocab_size // 32)


def slot_row(sequence: Sequence, eos_token_ids: tuple[int, ...], vocab_size: int) -> SlotRow | None:
    """The row for `sequence` as it stands, resumed or new; None when it needs no state.

    Every id in the request must be in [0, vocab_size) (admission checks it).
    """
    sampling = sequence.sampling
    if not uses_slot_row(sampling, eos_token_ids):
        return None
    return SlotRow(
        token_counts_V=_token_counts(sequence, vocab_size),
        bias_V=_bias(sequence, vocab_size),
        allowed_W=allowed_words(sampling.allowed_token_ids, vocab_size),
        stop_W=_words_of((*eos_token_ids, *sampling.stop_token_ids), vocab_size),
        scored_K=_scored_ids(sampling.logprob_token_ids),
    )


def allowed_words(token_ids: Iterable[int] | None, vocab_size: int) -> NDArray[np.uint32]:
    """uint32 [W] with the bits of `token_ids` set; all ones when it is None."""
    if token_ids is None:
        return np.full(num_words(vocab_size), 0xFFFFFFFF, np.uint32)
    return _words_of(token_ids, vocab_size)


def _words_of(token_ids: Iterable[int], vocab_size: int) -> NDArray[np.uint32]:
    words = np.zeros(num_words(vocab_size), np.uint32)
    ids = np.fromiter(token_ids, np.int64)
    np.bitwise_or.at(words, ids // 32, np.uint32(1) << (ids % 32).astype(np.uint32))
    return words


def _scored_ids(token_ids: tuple[int, ...]) -> NDArray[np.int32]:
    scored = np.zeros(MAX_LOGPROB_TOKEN_IDS, np.int32)
    scored[: len(token_ids)] = token_ids
    return scored


def _token_counts(sequence: Sequence, vocab_size: int) -> NDArray[np.int32]:
    ids = np.asarray(sequence.token_ids, np.int64)
    num_prompt = sequence.num_prompt_tokens
    counts = np.bincount(ids[num_prompt:], minlength=vocab_size).astype(np.int32)
    prompt_ids = ids[:num_prompt]
    counts[prompt_ids[prompt_ids >= 0]] |= PROMPT_BIT  # embeddings are no tokens
    return counts


def _bias(sequence: Sequence, vocab_size: int) -> NDArray[np.float32]:
    sampling = sequence.sampling
    bias = np.zeros(vocab_size, np.float32)
    for token_id, value in sampling.logit_bias.items():
        bias[token_id] = value
    for word in sampling.bad_words_token_ids:
        if len(word) == 1:
            bias[word[0]] = -np.inf
    return bias
