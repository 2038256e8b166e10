from __future__ import annotations

import itertools

import pytest

from engine.config import DeviceFacts, EngineConfig, ResolvedConfig, resolve
from engine.runner.buckets import Bucket, Demand, Variant, all_buckets, limits_of, pick
from engine.scheduler.plan import StepLimits
from models.config import DecoderConfig

MODEL = DecoderConfig(
    architecture="LlamaForCausalLM",
    vocab_size=100,
    d_model=8,
    num_layers=1,
    num_heads=1,
    num_kv_heads=1,
    head_dim=8,
    d_ff=8,
    norm_eps=1e-6,
    rope_theta=1e4,
    max_position_embeddings=2048,
)


def config_of(platform: str = "cpu", **chosen) -> ResolvedConfig:
    facts = DeviceFacts(
        platform=platform,
        device_kind=platform,
        num_devices=8,
        memory_bytes=2**36,
        free_memory_bytes=2**36,
    )
    return resolve(EngineConfig(**chosen), MODEL, facts)


CONFIGS = [
    config_of(),
    config_of("gpu"),
    config_of(max_num_seqs=1, max_num_batched_tokens=8),
    config_of(max_num_seqs=100),
    config_of(max_num_seqs=13, max_num_batched_tokens=77),
    config_of(max_num_seqs=64, data_parallel_size=2),
    config_of("gpu", max_num_seqs=1000),
]


def test_a_cpu_compiles_few_steps_by_default() -> None:
    buckets = all_buckets(config_of())
    assert {bucket.num_rows for bucket in buckets if bucket.is_decode} == {8, 16, 32, 64}
    mixed = [bucket for bucket in buckets if not bucket.is_decode]
    assert {bucket.num_tokens for bucket in mixed} == {64, 128, 256, 512}
    assert {bucket.num_rows for bucket in mixed} == {8, 64}
    assert len(buckets) == 17


@pytest.mark.parametrize("config", CONFIGS)
def test_the_first_bucket_alone_serves_every_kind_but_scoring(config: ResolvedConfig) -> None:
    first = all_buckets(config)[0]
    for variant, is_decode in itertools.product((Variant.GREEDY, Variant.FULL), (True, False)):
        assert pick([first], Demand(8, 8, variant, is_decode)) == first


@pytest.mark.parametrize("config", CONFIGS)
def test_no_bucket_is_smaller_than_eight_or_repeated(config: ResolvedConfig) -> None:
    buckets = all_buckets(config)
    assert min(bucket.num_tokens for bucket in buckets) >= 8
    assert min(bucket.num_rows for bucket in buckets) >= 8
    assert len(set(buckets)) == len(buckets)
    assert all(bucket.num_tokens == bucket.num_rows for bucket in buckets if bucket.is_decode)


@pytest.mark.parametrize("config", CONFIGS)
def test_limits_hold_after_every_compilation(config: ResolvedConfig) -> None:
    """Whatever is compiled so far, a plan within the limits finds a bucket."""
    buckets = all_buckets(config)
    for num_compiled in range(1, len(buckets) + 1):
        compiled = buckets[:num_compiled]
        limits = limits_of(compiled)
        for variant in (Variant.GREEDY, Variant.FULL):
            demand = Demand(limits.max_tokens, limits.max_rows, variant, is_decode=False)
            pick(compiled, demand)
            pick(compiled, Demand(limits.max_rows, limits.max_rows, variant, is_decode=True))
        if limits.has_prompt_logprobs:
            tokens = config.prompt_logprobs_chunk_tokens
            rows = min(tokens, limits.max_rows)
            pick(compiled, Demand(tokens, rows, Variant.PROMPT_LOGPROBS, is_decode=False))


@pytest.mark.parametrize("config", CONFIGS)
def test_limits_never_shrink_and_end_at_the_configured_ones(config: ResolvedConfig) -> None:
    buckets = all_buckets(config)
    rows = [limits_of(buckets[:count]).max_rows for count in range(1, len(buckets) + 1)]
    assert rows == sorted(rows)
    last = limits_of(buckets)
    assert last.max_rows >= config.max_num_seqs // config.data_parallel_size
    assert last.max_tokens >= config.max_num_batched_tokens
    assert last.has_prompt_logprobs


@pytest.mark.parametrize("config", CONFIGS)
def test_prompts_can_be_scored_before_the_limits_grow(config: ResolvedConfig) -> None:
    buckets = all_buckets(config)
    assert buckets[3].variant is Variant.PROMPT_LOGPROBS
    assert all(bucket.is_decode for bucket in buckets[1:3])


def test_the_smallest_fitting_bucket_is_picked() -> None:
    buckets = all_buckets(config_of())
    decode = Demand(9, 9, Variant.GREEDY, is_decode=True)
    assert pick(buckets, decode) == Bucket(16, 16, Variant.GREEDY, is_decode=True)
    full = Demand(8, 8, Variant.FULL, is_decode=True)
    assert pick(buckets, full) == Bucket(8, 8, Variant.FULL, is_decode=True)
    mixed = Demand(65, 3, Variant.GREEDY, is_decode=False)
    assert pick(buckets, mixed) == Bucket(128, 8, Variant.FULL, is_decode=False)
    scoring = Demand(5, 1, Variant.PROMPT_LOGPROBS, is_decode=False)
    assert pick(buckets, scoring).variant is Variant.PROMPT_LOGPROBS


def test_a_plan_no_bucket_fits_is_an_error() -> None:
    with pytest.raises(LookupError):
        pick(all_buckets(config_of()), Demand(513, 1, Variant.GREEDY, is_decode=False))


def test_limits_of_the_first_bucket_are_its_own() -> None:
    assert limits_of(all_buckets(config_of())[:1]) == StepLimits(8, 64, False)
