"""A sequence's sampling parameters as one row of int32, constant for its life. Host only.

Floats travel as their bits. `engine.sampling.knobs` is the reading side.
"""

from __future__ import annotations

import enum

import numpy as np
from numpy.typing import NDArray

from engine.grammar.guided import is_guided
from engine.request import SamplingParams
from engine.sequence import Sequence


class Field(enum.IntEnum):
    """Columns of `parameters_RF`."""

    TEMPERATURE = 0
    """float32; 0 is greedy."""
    TOP_K = 1
    """int32; 0 is off."""
    TOP_P = 2
    """uint32: top_p in units of 2**-32, at most 2**32 - 1 (which keeps everything)."""
    MIN_P = 3
    """float32."""
    REPETITION_PENALTY = 4
    """float32."""
    PRESENCE_PENALTY = 5
    """float32."""
    FREQUENCY_PENALTY = 6
    """float32."""
    MIN_TOKENS = 7
    """int32."""
    SEED_LOW = 8
    """Low word of the seed."""
    SEED_HIGH = 9
    """High word of the seed."""
    SEQUENCE_INDEX = 10
    """int32."""
    USES_SLOT_ROW = 11
    """1 when the slot's bias, counts, mask and stop ids belong to this sequence; 0 when they are
    what an earlier owner left and are ignored."""
    RANKS_ALLOWED = 12
    """1 when the alternatives are the best ids of those that may be chosen."""


NUM_PARAMETER_FIELDS = len(Field)
MAX_INT32 = 2**31 - 1
MAX_FLOAT32 = float(np.finfo(np.float32).max)


def pack_parameters(sequence: Sequence, eos_token_ids: tuple[int, ...]) -> NDArray[np.int32]:
    """One row of `parameters_RF`, int32 [NUM_PARAMETER_FIELDS].

    Args:
        eos_token_ids: the model's end-of-sequence ids (min_tokens holds them back).
    """
    sampling = sequence.sampling
    row = np.zeros(NUM_PARAMETER_FIELDS, np.int32)
    row[Field.TEMPERATURE] = _float_bits(sampling.temperature)
    row[Field.TOP_K] = min(sampling.top_k, MAX_INT32)  # beyond the vocabulary it is off
    row[Field.TOP_P] = _word(min(round(sampling.top_p * 2**32), 2**32 - 1))
    row[Field.MIN_P] = _float_bits(sampling.min_p)
    row[Field.REPETITION_PENALTY] = _float_bits(sampling.repetition_penalty)
    row[Field.PRESENCE_PENALTY] = _float_bits(sampling.presence_penalty)
    row[Field.FREQUENCY_PENALTY] = _float_bits(sampling.frequency_penalty)
    # What a guide allows already heeds min_tokens, and it knows when nothing but the end is left.
    row[Field.MIN_TOKENS] = 0 if is_guided(sequence.request) else sampling.min_tokens
    row[Field.SEED_LOW] = _word(sampling.seed)
    row[Field.SEED_HIGH] = _word(sampling.seed >> 32)
    row[Field.SEQUENCE_INDEX] = sequence.sequence_index
    row[Field.USES_SLOT_ROW] = uses_slot_row(sampling, eos_token_ids)
    row[Field.RANKS_ALLOWED] = sampling.ranks_allowed
    return row


def is_greedy_only(sampling: SamplingParams) -> bool:
    """Whether `sample_greedy` gives all this request wants: the best id of the raw logits."""
    return (
        sampling.temperature == 0.0
        and sampling.logprobs is None
        and not _changes_logits(sampling)
        and sampling.min_tokens == 0
    )


def uses_slot_row(sampling: SamplingParams, eos_token_ids: tuple[int, ...]) -> bool:
    """Whether the sequence needs device state of its own besides the last token."""
    holds_back_stop = sampling.min_tokens > 0 and bool(sampling.stop_token_ids or eos_token_ids)
    return holds_back_stop or bool(sampling.logprob_token_ids) or _changes_logits(sampling)


def _changes_logits(sampling: SamplingParams) -> bool:
    return (
        has_penalties(sampling)
        or bool(sampling.logit_bias)
        or sampling.allowed_token_ids is not None
        or bool(sampling.bad_words_token_ids)
    )


def has_penalties(sampling: SamplingParams) -> bool:
    """Whether tokens already there weigh on the choice."""
    return (
        sampling.repetition_penalty != 1.0
        or sampling.presence_penalty != 0.0
        or sampling.frequency_penalty != 0.0
    )


def _float_bits(value: float) -> np.int32:
    return np.float32(max(-MAX_FLOAT32, min(value, MAX_FLOAT32))).view(np.int32)


def _word(value: int) -> np.int32:
    """The low 32 bits of `value`."""
    return np.uint32(value & 0xFFFFFFFF).view(np.int32)
