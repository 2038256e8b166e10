"""The engine's whole step at the shapes of real models, ready to be compiled for described chips.

The models have two layers: every layer is the same program again. Of Gemma 3 they are one that
slides and one that sees everything.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from engine.config import DeviceFacts, EngineConfig, resolve
from engine.runner.arguments import StepProgram, make_program
from engine.runner.buckets import Bucket, Variant
from engine.runner.step import (
    ForwardFunction,
    ForwardOutputs,
    SamplerFunction,
    SamplerOutputs,
    StepFunction,
    StepOutputs,
    make_forward,
    make_sampler,
    make_step,
)
from engine.sharding.mesh import make_mesh
from models.registry import family_for

NUM_PAGES = 4096
BUCKETS = {
    "decode-1": Bucket(1, 1, Variant.GREEDY, is_decode=True),
    "decode-8": Bucket(8, 8, Variant.GREEDY, is_decode=True),
    "decode-64": Bucket(64, 64, Variant.GREEDY, is_decode=True),
    "decode-256": Bucket(256, 256, Variant.FULL, is_decode=True),
    "mixed-2048": Bucket(2048, 64, Variant.FULL, is_decode=False),
}
"""The engine pads one row to 8 today; the step of one row is compiled all the same."""
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
HF_CONFIGS: dict[str, dict[str, Any]] = {
    "llama-8b": LLAMA_8B,
    "qwen3-8b": LLAMA_8B
    | {
        "architectures": ["Qwen3ForCausalLM"],
        "vocab_size": 151936,
        "intermediate_size": 12288,
        "head_dim": 128,
        "rope_theta": 1e6,
    },
    "gemma3-12b": {
        "architectures": ["Gemma3ForCausalLM"],
        "hidden_size": 3840,
        "num_hidden_layers": 2,
        "layer_types": ["sliding_attention", "full_attention"],
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
        "intermediate_size": 15360,
        "max_position_embeddings": 8192,
        "rope_scaling": {"rope_type": "linear", "factor": 8.0},
        "sliding_window": 1024,
        "dtype": "bfloat16",
    },
    "llama-70b-tp8": LLAMA_8B
    | {"hidden_size": 8192, "num_attention_heads": 64, "intermediate_size": 28672},
}
NUM_DEVICES = {"llama-70b-tp8": 8}
"""Devices that share a model; the others run on one."""


def matrix(every_day: set[tuple[str, str]]) -> list[Any]:
    """Parameters (model, bucket): all of them, those not in `every_day` marked slow."""
    import pytest

    return [
        pytest.param(
            model,
            bucket,
            id=f"{model}-{bucket}",
            marks=() if (model, bucket) in every_day else pytest.mark.slow,
        )
        for model in HF_CONFIGS
        for bucket in BUCKETS
    ]


@dataclasses.dataclass(frozen=True)
class Step:
    """A greedy step, the forward pass of another one, or a sampler, to compile.

    Attributes:
        arguments: what it is given, as shapes with their places.
        donated: which of the arguments it may write into.
        out_shardings: of its outputs.
        kv_shape: of one layer's pages on one device; of the largest array of a sampler's state.
        kv_bytes: of all that is donated on one device, but for the state of a greedy step.
    """

    program: StepProgram
    function: StepFunction | ForwardFunction | SamplerFunction
    arguments: tuple[Any, ...]
    donated: tuple[int, ...]
    out_shardings: Any
    kv_shape: tuple[int, ...]
    kv_bytes: int


def make_model_step(
    platform: str,
    devices: Sequence[Any],
    model: str,
    bucket: Bucket,
    kv_cache_dtype: str = "auto",
) -> Step:
    """The step of a model of `HF_CONFIGS` on the first of the described devices."""
    program = _program(platform, devices, model, kv_cache_dtype)
    kv, state = program.abstract_pages_and_state(NUM_PAGES)
    pages = [(leaf.sharding.shard_shape(leaf.shape), leaf.dtype) for leaf in jax.tree.leaves(kv)]
    replicated = program.shardings.replicated
    kv_shardings = jax.tree.map(lambda leaf: leaf.sharding, kv)
    is_greedy = bucket.variant is Variant.GREEDY
    make = make_step if is_greedy else make_forward
    return Step(
        program=program,
        function=make(program.model, bucket, program.fields(bucket)),
        arguments=(program.abstract_weights(), kv, state, program.abstract_packed(bucket)),
        donated=(1, 2) if is_greedy else (1,),
        out_shardings=StepOutputs._make((kv_shardings, replicated, replicated, replicated))
        if is_greedy
        else ForwardOutputs._make((kv_shardings, replicated, replicated)),
        kv_shape=pages[0][0],
        kv_bytes=sum(int(np.prod(shape)) * dtype.itemsize for shape, dtype in pages),
    )


def make_model_sampler(platform: str, devices: Sequence[Any], model: str, bucket: Bucket) -> Step:
    """The sampler of a bucket's rows."""
    program = _program(platform, devices, model)
    _, state = program.abstract_pages_and_state(NUM_PAGES)
    logits, packed, allowed = program.abstract_sampler_arguments(bucket)
    replicated: Any = program.shardings.replicated
    return Step(
        program=program,
        function=make_sampler(program.model, program.fields(bucket)),
        arguments=(logits, state, packed, allowed),
        donated=(1,),
        out_shardings=SamplerOutputs(replicated, replicated, replicated),
        kv_shape=state.token_counts_SV.shape,
        kv_bytes=sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state)),
    )


def _program(
    platform: str, devices: Sequence[Any], model: str, kv_cache_dtype: str = "auto"
) -> StepProgram:
    hf_config, num_devices = HF_CONFIGS[model], NUM_DEVICES.get(model, 1)
    family = family_for(hf_config)
    decoder = family.decoder_config(hf_config)
    facts = DeviceFacts(
        platform=platform,
        device_kind="described",
        num_devices=num_devices,
        memory_bytes=80 << 30,
        free_memory_bytes=78 << 30,
    )
    mesh = make_mesh(devices, data_parallel_size=1, tensor_parallel_size=num_devices)
    asked = EngineConfig(tensor_parallel_size=num_devices, kv_cache_dtype=kv_cache_dtype)
    config = resolve(asked, decoder, facts)
    return make_program(decoder, config, mesh, family.weight_rules(decoder))
