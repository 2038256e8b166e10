"""The engine's whole step, kernels and sampler included, compiled for TPUs that are not here."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import pytest
from rig_tpu import CHIPS, compile_for_tpu, describing, tpu_devices
from step_world import BUCKETS, NUM_DEVICES, make_model_step, matrix

TEMPORARY_BYTES = 1 << 30
"""libtpu keeps more arrays of the size of the logits alive in the full sampler than XLA:GPU."""
EVERY_DAY = {
    "v5e": {
        ("llama-8b", "decode-8"),
        ("llama-8b", "mixed-2048"),
        ("qwen3-8b", "decode-64"),
        ("gemma3-12b", "decode-1"),
        ("llama-70b-tp8", "decode-8"),
    },
    "v6e": {
        ("llama-8b", "decode-1"),
        ("llama-8b", "decode-256"),
        ("qwen3-8b", "decode-8"),
        ("gemma3-12b", "decode-64"),
    },
}
"""Every model and every bucket at least once; the rest of the matrix is slow."""


def cases() -> list[Any]:
    """(chip, model, bucket)."""
    return [
        pytest.param(chip, *case.values, id=f"{chip}-{case.id}", marks=case.marks)
        for chip in CHIPS
        for case in matrix(EVERY_DAY[chip])
    ]


def test_a_loop_that_ends_when_its_data_say_so_is_seen() -> None:
    def halve(x: jax.Array) -> jax.Array:
        return jax.lax.while_loop(lambda y: jnp.max(y) > 1, lambda y: y / 2, x)

    def halve_often(x: jax.Array) -> jax.Array:
        return jax.lax.fori_loop(0, 1000, lambda _, y: jnp.sin(y @ y), x)

    square = jax.ShapeDtypeStruct((256, 256), jnp.float32)
    assert compile_for_tpu(halve, square, chip="v5e").unbounded_whiles
    counted = compile_for_tpu(halve_often, square, chip="v5e")
    assert " while(" in counted.hlo
    assert not counted.unbounded_whiles


@pytest.mark.timeout(1200)  # a minute of libtpu's for a mixed step alone on a core
@pytest.mark.parametrize(("chip", "model", "bucket"), cases())
def test_a_step_on_a_tpu_keeps_the_host_free_and_the_pages_in_place(
    chip: str, model: str, bucket: str
) -> None:
    num_devices = NUM_DEVICES.get(model, 1)
    with describing(chip):
        devices = tpu_devices(chip, max(4, num_devices))
        step = make_model_step("tpu", devices[:num_devices], model, BUCKETS[bucket])
        assert step.program.attention.kind == "tpu"
    compiled = compile_for_tpu(
        step.function,
        *step.arguments,
        chip=chip,
        donate_argnums=step.donated,
        out_shardings=step.out_shardings,
    )
    assert compiled.num_kernels >= step.program.decoder.num_layers
    assert compiled.alias_bytes >= step.kv_bytes
    assert not compiled.has_copy_of(step.kv_bytes // 4)
    assert not compiled.has_conditional
    assert not compiled.unbounded_whiles
    assert compiled.temp_bytes <= TEMPORARY_BYTES
