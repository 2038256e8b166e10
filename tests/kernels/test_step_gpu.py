"""The engine's whole step, kernels and sampler included, compiled for H100s that are not here."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from rig_gpu import compile_for_h100, h100_devices
from step_world import BUCKETS, NUM_DEVICES, make_model_sampler, make_model_step, matrix

from models.layers.embedding import rows_of

TEMPORARY_BYTES = 512 << 20
SHARDED_TEMPORARY_BYTES = 1536 << 20
"""Logits that devices gather come column by column: XLA keeps what the full sampler derives of
them, 131 MB an array at 256 rows, in both orders."""
EVERY_DAY = {
    ("llama-8b", "decode-1"),
    ("llama-8b", "decode-256"),
    ("llama-8b", "mixed-2048"),
    ("qwen3-8b", "decode-8"),
    ("gemma3-12b", "decode-64"),
    ("llama-70b-tp8", "decode-256"),
}
"""Every model and every bucket at least once; the rest of the matrix is slow."""


@pytest.mark.parametrize(("model", "bucket"), matrix(EVERY_DAY))
def test_a_step_on_an_h100_keeps_the_host_free_and_the_pages_in_place(
    model: str, bucket: str
) -> None:
    devices = h100_devices(NUM_DEVICES.get(model, 1))
    step = make_model_step("gpu", devices, model, BUCKETS[bucket])
    assert step.program.attention.kind == "gpu"
    _, facts = compile_for_h100(
        step.function,
        *step.arguments,
        donate_argnums=step.donated,
        out_shardings=step.out_shardings,
    )
    assert len(facts.kernels) >= step.program.decoder.num_layers
    budget = SHARDED_TEMPORARY_BYTES if model in NUM_DEVICES else TEMPORARY_BYTES
    assert not facts.faults(kv_shape=step.kv_shape, kv_bytes=step.kv_bytes, temp_budget=budget)


@pytest.mark.slow
@pytest.mark.parametrize("kv_cache_dtype", ["fp8", "int8"])
@pytest.mark.parametrize("bucket", ["decode-8", "mixed-2048"])
def test_a_step_over_8_bit_pages_keeps_them_in_place(bucket: str, kv_cache_dtype: str) -> None:
    step = make_model_step("gpu", h100_devices(), "llama-8b", BUCKETS[bucket], kv_cache_dtype)
    assert step.program.attention.kind == "gpu"
    _, facts = compile_for_h100(
        step.function,
        *step.arguments,
        donate_argnums=step.donated,
        out_shardings=step.out_shardings,
    )
    assert not facts.faults(
        kv_shape=step.kv_shape, kv_bytes=step.kv_bytes, temp_budget=TEMPORARY_BYTES
    )


@pytest.mark.parametrize("model", ["llama-8b", "llama-70b-tp8"])
def test_the_sampler_on_an_h100_cuts_in_its_own_kernel_and_keeps_its_state_in_place(
    model: str,
) -> None:
    devices = h100_devices(NUM_DEVICES.get(model, 1))
    step = make_model_sampler("gpu", devices, model, BUCKETS["decode-256"])
    _, facts = compile_for_h100(
        step.function,
        *step.arguments,
        donate_argnums=step.donated,
        out_shardings=step.out_shardings,
    )
    assert sum("threshold_cut" in kernel.name for kernel in facts.kernels) == 2
    budget = SHARDED_TEMPORARY_BYTES if model in NUM_DEVICES else TEMPORARY_BYTES
    assert not facts.faults(kv_shape=step.kv_shape, kv_bytes=step.kv_bytes, temp_budget=budget)


def test_devices_that_share_a_table_do_not_gather_it_for_a_single_token() -> None:
    mesh = Mesh(np.array(h100_devices(8)), ("model",))
    by_rows, everywhere = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in (("model",), ()))
    table = jax.ShapeDtypeStruct((128256, 1024), jnp.bfloat16, sharding=by_rows)
    token = jax.ShapeDtypeStruct((1,), jnp.int32, sharding=everywhere)
    _, facts = compile_for_h100(rows_of, table, token, out_shardings=everywhere)
    assert facts.temp_bytes < 1 << 20
