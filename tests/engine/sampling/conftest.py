"""A small world for the sampler: sequences by keyword, and the compiled step over a few rows."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from collections.abc import Sequence as Rows
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from engine.request import GenerateRequest, SamplingParams
from engine.sampling import (
    MAX_STEP_BANS,
    SampleOutput,
    SlotState,
    allowed_words,
    bad_word_bans,
    make_slot_state,
    pack_parameters,
    sample_full,
    sample_greedy,
    slot_row,
    write_slot_row,
)
from engine.sequence import Sequence

EOS = (2,)

full = jax.jit(sample_full, static_argnums=9)
greedy = jax.jit(sample_greedy)
write = jax.jit(write_slot_row)


def make_sequence(
    prompt: tuple[int, ...] = (1,), output: tuple[int, ...] = (), index: int = 0, **knobs: Any
) -> Sequence:
    sampling = SamplingParams(max_tokens=100, **knobs)
    request = GenerateRequest(request_id="r", prompt_token_ids=prompt, sampling=sampling)
    sequence = Sequence.from_request(request, index)
    sequence.token_ids.extend(output)
    return sequence


@dataclasses.dataclass
class World:
    """Sequence i has slot i; rows of the step are `order`, padded with the trash slot."""

    sequences: Rows[Sequence]
    vocab_size: int
    num_slots: int | None = None

    @functools.cached_property
    def state(self) -> SlotState:
        num_slots = self.num_slots or len(self.sequences)
        state = make_slot_state(num_slots, self.vocab_size)
        for slot, sequence in enumerate(self.sequences):
            row = slot_row(sequence, EOS, self.vocab_size)
            if row is not None:
                state = write(state, np.int32(slot), row)
        return state

    def step(
        self,
        logits_SV: np.ndarray,
        *,
        order: Rows[int] | None = None,
        num_rows: int | None = None,
        positions: Rows[int] | None = None,
        num_alternatives: int = 0,
        is_greedy: bool = False,
        padding_logit: float = 0.0,
        allowed: dict[int, tuple[int, ...]] | None = None,
    ) -> tuple[SampleOutput, SlotState]:
        order = range(len(self.sequences)) if order is None else order
        num_rows = max(8, len(order)) if num_rows is None else num_rows
        trash = self.state.last_token_S.shape[0] - 1
        logits = np.full((num_rows, self.vocab_size), padding_logit, np.float32)
        slots = np.full(num_rows, trash, np.int32)
        parameters = np.zeros((num_rows, len(pack_parameters(self.sequences[0], EOS))), np.int32)
        position, num_output = np.zeros((2, num_rows), np.int32)
        bans = np.full((num_rows, MAX_STEP_BANS), -1, np.int32)
        for row, slot in enumerate(order):
            sequence = self.sequences[slot]
            logits[row], slots[row] = logits_SV[slot], slot
            parameters[row] = pack_parameters(sequence, EOS)
            position[row] = len(sequence.token_ids) if positions is None else positions[slot]
            num_output[row] = sequence.num_output_tokens
            ids = bad_word_bans(sequence)
            bans[row, : len(ids)] = ids
        allowed_RW = np.stack([allowed_words(None, self.vocab_size)] * num_rows)
        for row, slot in enumerate(order):
            allowed_RW[row] = allowed_words((allowed or {}).get(slot), self.vocab_size)
        is_sampling = np.arange(num_rows) < len(order)
        if is_greedy:
            return greedy(jnp.asarray(logits), self.state, slots, is_sampling)
        return full(
            jnp.asarray(logits),
            self.state,
            slots,
            is_sampling,
            parameters,
            position,
            num_output,
            bans,
            allowed_RW,
            num_alternatives,
        )


@pytest.fixture(scope="session")
def sequence() -> Callable[..., Sequence]:
    return make_sequence


@pytest.fixture(scope="session")
def world() -> type[World]:
    return World
