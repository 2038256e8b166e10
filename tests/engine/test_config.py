"""`resolve` decides everything once."""

from __future__ import annotations

import dataclasses

import msgspec
import pytest

from engine.config import DeviceFacts, EngineConfig, ResolvedConfig, resolve
from engine.errors import SetupError

GIB = 2**30


@dataclasses.dataclass(frozen=True)
class Model:
    max_position_embeddings: int = 2048
    dtype: str = "bfloat16"
    vocab_size: int = 1024
    num_matrix_parameters: int = 1_000_000


CPU = DeviceFacts(
    platform="cpu",
    device_kind="cpu",
    num_devices=1,
    memory_bytes=8 * GIB,
    free_memory_bytes=6 * GIB,
)
GPU = DeviceFacts(
    platform="gpu",
    device_kind="NVIDIA H100",
    num_devices=1,
    memory_bytes=80 * GIB,
    free_memory_bytes=79 * GIB,
)


def resolved(devices: DeviceFacts = CPU, **chosen) -> ResolvedConfig:
    return resolve(EngineConfig(**chosen), Model(), devices)


def test_a_cpu_gets_small_steps() -> None:
    config = resolved()
    assert (config.max_num_seqs, config.max_num_batched_tokens, config.page_size) == (64, 512, 16)
    assert config.max_kv_cache_bytes == 2 * GIB
    assert config.max_device_bytes == 6 * GIB


def test_a_gpu_gets_large_steps_and_its_share_of_memory() -> None:
    config = resolved(GPU)
    assert (config.max_num_seqs, config.max_num_batched_tokens, config.page_size) == (256, 8192, 64)
    assert config.max_device_bytes == 72 * GIB


def test_the_models_own_dtype_and_length_are_taken() -> None:
    config = resolved()
    assert (config.dtype, config.max_model_len) == ("bfloat16", 2048)


def test_what_the_operator_chose_is_kept() -> None:
    chosen = {
        "dtype": "float32",
        "max_model_len": 100,
        "max_num_seqs": 3,
        "max_num_batched_tokens": 40,
        "prefill_chunk_tokens": 20,
        "block_size": 32,
        "kv_cache_memory_bytes": 12345,
        "max_num_queued_reqs": 0,
        "max_logprobs": 3,
    }
    config = resolved(**chosen)
    assert (config.dtype, config.max_model_len, config.max_num_seqs) == ("float32", 100, 3)
    assert (config.max_num_batched_tokens, config.prefill_chunk_tokens) == (40, 20)
    assert (config.page_size, config.max_kv_cache_bytes) == (32, 12345)
    assert config.is_kv_cache_exact
    assert (config.max_num_queued_requests, config.max_logprobs) == (0, 3)


def test_nothing_is_left_undecided_but_the_number_of_pages() -> None:
    left = [name for name, value in msgspec.structs.asdict(resolved()).items() if value is None]
    assert left == ["num_pages_override"]


def test_the_token_budget_grows_with_many_sequences() -> None:
    assert resolved(max_num_seqs=1000).max_num_batched_tokens == 1000


@pytest.mark.parametrize(
    ("flag", "chosen"),
    [
        ("--max-model-len", {"max_model_len": 2049}),
        ("--max-model-len", {"max_model_len": 0}),
        ("--max-num-seqs", {"max_num_seqs": 0}),
        ("--max-num-batched-tokens", {"max_num_batched_tokens": 8}),
        ("--block-size", {"block_size": 12}),
        ("--dtype", {"dtype": "int8"}),
        ("--kv-cache-dtype", {"kv_cache_dtype": "fp4"}),
        ("--kv-cache-memory-bytes", {"kv_cache_memory_bytes": 0}),
        ("--max-logprobs", {"max_logprobs": -2}),
        ("--tensor-parallel-size", {"tensor_parallel_size": 0}),
        ("--max-num-queued-reqs", {"max_num_queued_reqs": -1}),
        ("--prefill-chunk-tokens", {"prefill_chunk_tokens": 0}),
        ("--scheduling-policy", {"scheduling_policy": "random"}),
        ("--load-format", {"load_format": "pt"}),
    ],
)
def test_an_impossible_choice_is_refused_by_its_flag(flag: str, chosen) -> None:
    with pytest.raises(SetupError, match=flag):
        resolved(**chosen)


def test_a_small_vocabulary_may_be_reported_whole() -> None:
    assert resolved(max_logprobs=-1).max_logprobs == 1024
    with pytest.raises(SetupError, match=r"--max-logprobs -1 .* 128000"):
        resolve(EngineConfig(max_logprobs=-1), Model(vocab_size=128_000), CPU)


@pytest.mark.parametrize("share", [0.0, 1.5, float("nan")])
def test_an_impossible_share_of_the_gpu_is_refused(share: float) -> None:
    with pytest.raises(SetupError, match="--gpu-memory-utilization"):
        resolved(GPU, gpu_memory_utilization=share)


def test_a_cpu_without_matrix_units_keeps_small_weights_wide() -> None:
    slow = msgspec.structs.replace(CPU, has_half_precision_units=False)
    resolved = resolve(EngineConfig(), Model(), slow)
    assert (resolved.dtype, resolved.weight_dtype) == ("bfloat16", "float32")
    assert resolve(EngineConfig(), Model(), CPU).weight_dtype == "bfloat16"


def test_a_cpu_with_few_users_reads_half_the_bytes_instead() -> None:
    slow = msgspec.structs.replace(CPU, has_half_precision_units=False)
    few = resolve(EngineConfig(max_num_seqs=8), Model(), slow)
    assert (few.weight_dtype, few.min_decode_rows) == ("bfloat16", 2)
    half = resolve(EngineConfig(max_num_seqs=8, dtype="float16"), Model(), slow)
    assert (half.weight_dtype, half.min_decode_rows) == ("float32", 2)


def test_weights_that_would_fill_the_memory_are_not_widened() -> None:
    slow = msgspec.structs.replace(CPU, has_half_precision_units=False)
    large = Model(num_matrix_parameters=slow.memory_bytes)
    assert resolve(EngineConfig(), large, slow).weight_dtype == "bfloat16"
