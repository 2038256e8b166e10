from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from engine.sampling import (
    make_slot_state,
    sample_full,
    slot_row,
    write_slot_row,
)


def test_a_written_row_changes_its_slot_and_no_other(sequence):
    row = slot_row(sequence((3,), logit_bias={4: 2.0}, allowed_token_ids=(4,)), (2,), 40)
    assert row is not None
    before = make_slot_state(3, 40)
    after = jax.jit(write_slot_row)(before, np.int32(1), row)
    for old, new in zip(before[1:], after[1:], strict=True):
        np.testing.assert_array_equal(np.delete(new, 1, axis=0), np.delete(old, 1, axis=0))
    assert float(after.bias_SV[1, 4]) == 2.0
    assert np.asarray(after.allowed_SW)[1].tolist() == [16, 0]


def test_a_step_may_allow_a_row_less_than_its_slot_does(sequence, world):
    plain, choosy = sequence(temperature=0.0), sequence(temperature=0.0, allowed_token_ids=(1, 2))
    small = world([plain, choosy, plain], 40)
    logits = np.tile(np.arange(40, dtype=np.float32), (3, 1))
    output, _ = small.step(logits, allowed={0: (7, 30), 1: (1, 30)})
    assert np.asarray(output.token_R)[:3].tolist() == [30, 1, 39]


def test_donated_state_is_updated_in_place():
    def step(state, logits):
        rows = jnp.arange(8, dtype=jnp.int32)
        bans = jnp.full((8, 16), -1, jnp.int32)
        parameters = jnp.zeros((8, 12), jnp.int32)
        is_sampling = jnp.ones((8,), jnp.bool_)
        allowed = jnp.full((8, 32), 0xFFFFFFFF, jnp.uint32)
        rows_and_bans = (parameters, rows, rows, bans)
        return sample_full(logits, state, rows, is_sampling, *rows_and_bans, allowed, 0)

    def memory(num_slots):
        state = jax.eval_shape(lambda: make_slot_state(num_slots, 1000))
        logits = jax.ShapeDtypeStruct((8, 1000), jnp.float32)
        compiled = jax.jit(step, donate_argnums=0).lower(state, logits).compile()
        analysis = compiled.memory_analysis()
        return analysis.temp_size_in_bytes, analysis.alias_size_in_bytes

    (small_temp, _), (large_temp, alias) = memory(8), memory(256)
    assert large_temp == small_temp
    assert alias >= 257 * 1000 * 8
