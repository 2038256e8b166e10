"""The sampler: everything between a model's logits and the next token, inside the compiled step.

    raw logits ─┬─ logprobs (log-softmax of the model itself)
                └─ masks → bias → penalties ─┬─ greedy: the best id, lowest first   (temperature 0)
                                             └─ temperature → min_p → top_k → top_p → draw

That is vLLM's order. Two variants are compiled: `sample_greedy` and `sample_full`. A row's result
is a function of that row alone, bit for bit: every sum over the vocabulary is a sum of integers,
whose order does not matter, and randomness is hash(seed, sequence index, position).

Host side (numpy only): `is_greedy_only`, `pack_parameters`, `slot_row`, `bad_word_bans`,
`max_step_bans`. Device side (jax): the rest. Importing this package imports no jax.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.sampling.bad_words import MAX_STEP_BANS, bad_word_bans, max_step_bans
    from engine.sampling.logprobs import score_tokens
    from engine.sampling.parameters import (
        NUM_PARAMETER_FIELDS,
        is_greedy_only,
        pack_parameters,
    )
    from engine.sampling.row import SlotRow, allowed_words, slot_row
    from engine.sampling.sampler import SampleOutput, sample_full, sample_greedy
    from engine.sampling.state import (
        SlotState,
        make_slot_state,
        write_slot_row,
    )

_HOMES = {
    "MAX_STEP_BANS": "bad_words",
    "bad_word_bans": "bad_words",
    "max_step_bans": "bad_words",
    "score_tokens": "logprobs",
    "NUM_PARAMETER_FIELDS": "parameters",
    "is_greedy_only": "parameters",
    "pack_parameters": "parameters",
    "SlotRow": "row",
    "allowed_words": "row",
    "slot_row": "row",
    "SampleOutput": "sampler",
    "sample_full": "sampler",
    "sample_greedy": "sampler",
    "SlotState": "state",
    "make_slot_state": "state",
    "write_slot_row": "state",
}

__all__ = [
    "MAX_STEP_BANS",
    "NUM_PARAMETER_FIELDS",
    "SampleOutput",
    "SlotRow",
    "SlotState",
    "allowed_words",
    "bad_word_bans",
    "is_greedy_only",
    "make_slot_state",
    "max_step_bans",
    "pack_parameters",
    "sample_full",
    "sample_greedy",
    "score_tokens",
    "slot_row",
    "write_slot_row",
]


def __getattr__(name: str) -> object:
    """Import the module a public name lives in when the name is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
