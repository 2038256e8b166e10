"""The engine's whole step, kernels and sampler included, compiled for chips that are not here.

The models have two layers: every layer is the same program again.
"""

from __future__ import annotations

from typing import Any

import jax
import pytest
from rig_gpu import compile_for_h100, h100_devices
from rig_tpu import compile_for_tpu, describing, four_devices

from engine.config import DeviceFacts, EngineConfig, resolve
from engine.runner.arguments import StepProgram, make_program
from engine.runner.buckets import Bucket, Variant
from engine.runner.step import make_step
from engine.sharding.mesh import make_mesh
from models.registry import family_for

NUM_PAGES = 4096
GPU_TEMPORARY_BYTES = 512 << 20
TPU_TEMPORARY_BYTES = 1 << 30
"""libtpu keeps more arrays of the size of the logits alive in the full sampler than XLA:GPU."""
DECODE_8 = Bucket(8, 8, Variant.GREEDY, is_decode=True)
DECODE_256 = Bucket(256, 256, Variant.FULL, is_decode=True)
MIXED_2048 = Bucket(2048, 64, Variant.FULL, is_decode=False)
LLAMA_8B: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "vocab_size": 128256,
    "hidden_size": 4096,
    "num_hidden_layers": 2,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "intermediate_size": 14336,
    "max_position_embeddings": 8192,
    "rope_theta": 5e5,
    "dtype": "bfloat16",
}
QWEN3_8B = LLAMA_8B | {
    "architectures": ["Qwen3ForCausalLM"],
    "vocab_size": 151936,
    "intermediate_size": 12288,
    "head_dim": 128,
    "rope_theta": 1e6,
}
BUCKETS = pytest.mark.parametrize(
    "bucket", [DECODE_8, DECODE_256, MIXED_2048], ids=["decode-8", "decode-256", "mixed-2048"]
)
MODELS = pytest.mark.parametrize("hf_config", [LLAMA_8B, QWEN3_8B], ids=["llama-8b", "qwen3-8b"])


def program_for(platform: str, devices: list[Any], hf_config: dict[str, Any]) -> StepProgram:
    """The program of a model on the first of the described devices."""
    family = family_for(hf_config)
    decoder = family.decoder_config(hf_config)
    facts = DeviceFacts(
        platform=platform,
        device_kind="described",
        num_devices=1,
        memory_bytes=80 << 30,
        free_memory_bytes=78 << 30,
    )
    mesh = make_mesh(devices[:1], data_parallel_size=1, tensor_parallel_size=1)
    config = resolve(EngineConfig(), decoder, facts)
    return make_program(decoder, config, mesh, family.weight_rules(decoder))


def arguments(program: StepProgram, bucket: Bucket) -> tuple[Any, ...]:
    """What the step is given: weights, pages, slot state, packed integers."""
    kv, state = program.abstract_pages_and_state(NUM_PAGES)
    return program.abstract_weights(), kv, state, program.abstract_packed(bucket)


def num_bytes(pages: list[Any]) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in pages)


@MODELS
@BUCKETS
def test_a_step_on_an_h100_keeps_the_host_free_and_the_pages_in_place(
    hf_config: dict[str, Any], bucket: Bucket
) -> None:
    program = program_for("gpu", h100_devices(), hf_config)
    assert program.attention.kind == "gpu"
    step = make_step(program.model, bucket, program.fields(bucket))
    given = arguments(program, bucket)
    _, facts = compile_for_h100(step, *given, donate_argnums=(1, 2))
    pages = jax.tree.leaves(given[1])
    assert len(facts.kernels) >= program.decoder.num_layers
    num_cuts = sum("threshold_cut" in kernel.name for kernel in facts.kernels)
    assert num_cuts == (2 if bucket.variant is Variant.FULL else 0)
    assert not facts.faults(
        kv_shape=pages[0].shape, kv_bytes=num_bytes(pages), temp_budget=GPU_TEMPORARY_BYTES
    )


@BUCKETS
@pytest.mark.parametrize("chip", ["v5e", "v6e"])
def test_a_step_on_a_tpu_keeps_the_pages_in_place(chip: str, bucket: Bucket) -> None:
    with describing(chip):
        program = program_for("tpu", list(four_devices(chip).devices.flat), LLAMA_8B)
        assert program.attention.kind == "tpu"
        step = make_step(program.model, bucket, program.fields(bucket))
        given = arguments(program, bucket)
    compiled = compile_for_tpu(step, *given, chip=chip, donate_argnums=(1, 2))
    pages = jax.tree.leaves(given[1])
    assert compiled.num_kernels >= program.decoder.num_layers
    assert compiled.alias_bytes >= num_bytes(pages)
    assert not compiled.has_copy_of(pages[0].size)
    assert not compiled.has_conditional
    assert compiled.temp_bytes <= TPU_TEMPORARY_BYTES
