from __future__ import annotations

import pytest

from engine.config import DeviceFacts, EngineConfig, ResolvedConfig, resolve
from engine.errors import MemoryPlanError
from engine.runner.memory import page_bytes, plan_pages, slot_state_bytes
from engine.sampling import make_slot_state
from models.config import DecoderConfig
from pallas_kernels.paged_attention import kv_page_bytes

MIB = 2**20
MODEL = DecoderConfig(
    architecture="LlamaForCausalLM",
    vocab_size=1000,
    d_model=64,
    num_layers=4,
    num_heads=8,
    num_kv_heads=4,
    head_dim=16,
    d_ff=128,
    norm_eps=1e-6,
    rope_theta=1e4,
    max_position_embeddings=4096,
)


def config_of(*, free_bytes: int = 1000 * MIB, **chosen) -> ResolvedConfig:
    facts = DeviceFacts(
        platform="cpu",
        device_kind="cpu",
        num_devices=4,
        memory_bytes=4000 * MIB,
        free_memory_bytes=free_bytes,
    )
    return resolve(EngineConfig(**chosen), MODEL, facts)


def pages(config: ResolvedConfig, *, weight_bytes: int = 0, temporary_bytes: int = 0) -> int:
    return plan_pages(
        MODEL, config, kind="cpu", weight_bytes=weight_bytes, temporary_bytes=temporary_bytes
    )


def test_page_bytes_agree_with_the_arrays() -> None:
    assert page_bytes(MODEL, config_of(), "cpu") == 4 * kv_page_bytes(16, 4, 16, "bfloat16", "cpu")


def test_tensor_parallelism_divides_pages_over_devices() -> None:
    shared = page_bytes(MODEL, config_of(tensor_parallel_size=4), "cpu")
    assert shared * 4 == page_bytes(MODEL, config_of(), "cpu")


def test_slot_state_bytes_agree_with_the_arrays() -> None:
    config = config_of(max_num_seqs=8)
    state = make_slot_state(8, MODEL.vocab_size)
    assert slot_state_bytes(MODEL, config) == sum(array.nbytes for array in state)


def test_no_more_pages_than_all_slots_can_use() -> None:
    assert pages(config_of(max_num_seqs=2, max_model_len=64)) == 2 * 4 + 1


def test_a_named_budget_is_used_to_the_last_page() -> None:
    config = config_of(kv_cache_memory_bytes=100 * MIB)
    assert pages(config) == 100 * MIB // page_bytes(MODEL, config, "cpu")


def test_an_exact_number_of_pages_is_taken_as_it_is() -> None:
    assert pages(config_of(num_gpu_blocks_override=300)) == 300


@pytest.mark.parametrize(
    ("chosen", "demand", "flag"),
    [
        ({"kv_cache_memory_bytes": MIB}, {}, "--max-model-len"),
        ({"kv_cache_memory_bytes": MIB}, {}, "--kv-cache-memory-bytes"),
        ({"kv_cache_memory_bytes": 3000 * MIB}, {}, "--kv-cache-memory-bytes"),
        ({"num_gpu_blocks_override": 10}, {}, "--num-gpu-blocks-override"),
        ({}, {"weight_bytes": 2000 * MIB}, "--model"),
        ({}, {"temporary_bytes": 2000 * MIB}, "--max-num-batched-tokens"),
        ({"free_bytes": 40 * MIB}, {"weight_bytes": 39 * MIB}, "--max-model-len"),
    ],
)
def test_what_cannot_fit_is_refused_with_a_remedy(chosen, demand, flag: str) -> None:
    with pytest.raises(MemoryPlanError, match=flag):
        pages(config_of(max_num_seqs=1, **chosen), **demand)
