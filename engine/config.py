"""What the operator chose, and what follows from it.

`EngineConfig` is what flags and `engine.LLM` fill in; `None` means "decide for me".
`resolve` fills every `None` once, when the model's own configuration and the devices are known;
nothing below it makes another choice. Both are frozen.
"""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from engine.errors import SetupError


class EngineConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Choices of the operator. Flag names are vLLM's, with dashes.

    Attributes:
        model: a Hugging Face folder, a hub id, or "" for the embedded model.
        tokenizer_revision: of `tokenizer`, or of the model's own; "" = `revision` for the latter.
        download_dir: folder of hub models; "" = the hub library's own.
        hf_overrides: laid over config.json, objects into objects.
        dtype: auto | float32 | bfloat16 | float16; `auto` takes the checkpoint's.
        load_format: auto | safetensors | dummy (seeded random weights of the right shapes).
        max_model_len: longest prompt + output in tokens; None = the model's own limit, lowered
            to what the KV cache can hold only with an error that says so, never silently.
        max_num_seqs: most sequences running at once (slots).
        max_num_batched_tokens: token budget of one step.
        kv_cache_dtype: auto (the model's) or a key of `KV_CACHE_DTYPES`.
        enable_prompt_embeds: prompts may be embeddings; steps with prompts then take them.
        block_size: tokens in a page (vLLM's flag name; everywhere else it is `page_size`).
        kv_cache_memory_bytes: bytes for KV pages; None = from the device's memory.
        gpu_memory_utilization: share of the device's memory to use when the above is None.
        num_gpu_blocks_override: exact number of pages, for tests.
        tensor_parallel_size, data_parallel_size: mesh axes.
        max_logprobs: most alternatives per token; -1 = the whole (small) vocabulary.
        max_num_queued_reqs: requests waiting beyond the running ones before 503; 0 = no bound,
            None = 1024. Counted are requests of one prompt each, however many sequences they
            want. So a request that comes alone always runs, and one of HTTP with as many prompts
            as it may have (1024) does at the default.
        compile_cache_dir: persistent XLA cache; "" = a folder under the user's cache directory.
        prefill_chunk_tokens: most prompt tokens of one sequence in one step; None = the budget.
        profiler_config: vLLM's; only the folder (`torch_profiler_dir`) counts. Empty = no profiles.
        step_timeout_s: a device step older than this means the engine hangs.
        check_invariants: run `check()` of scheduler and page pool after every step.
    """

    model: str = ""
    tokenizer: str = ""
    revision: str = ""
    tokenizer_revision: str = ""
    download_dir: str = ""
    hf_overrides: dict[str, Any] = {}
    dtype: str = "auto"
    load_format: str = "auto"
    seed: int = 0
    max_model_len: int | None = None
    max_num_seqs: int | None = None
    max_num_batched_tokens: int | None = None
    prefill_chunk_tokens: int | None = None
    block_size: int | None = None
    kv_cache_dtype: str = "auto"
    kv_cache_memory_bytes: int | None = None
    gpu_memory_utilization: float = 0.9
    num_gpu_blocks_override: int | None = None
    enable_prefix_caching: bool = True
    enable_prompt_embeds: bool = False
    scheduling_policy: str = "fcfs"
    tensor_parallel_size: int = 1
    data_parallel_size: int = 1
    max_logprobs: int = 20
    max_num_queued_reqs: int | None = None
    compile_cache_dir: str = ""
    step_timeout_s: float = 10.0
    profiler_config: dict[str, Any] = {}
    check_invariants: bool = False


class SchedulerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the scheduler and the page pool need; no `None` is left."""

    num_pages: int
    page_size: int
    max_num_seqs: int
    max_num_batched_tokens: int
    prefill_chunk_tokens: int
    max_model_len: int
    max_num_queued_requests: int
    enable_prefix_caching: bool = True
    use_priority: bool = False
    prompt_logprobs_chunk_tokens: int = 64
    check_invariants: bool = False


class ModelLimits(Protocol):
    """The part of `models.config.DecoderConfig` that `resolve` reads."""

    @property
    def max_position_embeddings(self) -> int:
        """Longest sequence the model was made for, in tokens."""
        ...

    @property
    def dtype(self) -> str:
        """Of the checkpoint: float32 | bfloat16 | float16."""
        ...

    @property
    def vocab_size(self) -> int:
        """Ids the model can give."""
        ...

    @property
    def num_matrix_parameters(self) -> int:
        """Parameters of all matrices."""
        ...


class DeviceFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What `resolve` must know of the machine, as plain numbers. Filled by `engine.runner.devices`.

    Attributes:
        platform: cpu | gpu | tpu, in jax's words.
        device_kind: e.g. "NVIDIA H100 80GB HBM3".
        num_devices: devices this process may use.
        memory_bytes: of one device; on CPU the machine's memory.
        free_memory_bytes: of one device at the time of asking.
        has_half_precision_units: whether it multiplies 16-bit matrices faster than float32 ones.
    """

    platform: str
    device_kind: str
    num_devices: int
    memory_bytes: int
    free_memory_bytes: int
    has_half_precision_units: bool = True


class PlatformDefaults(msgspec.Struct, frozen=True, kw_only=True):
    """What `None` means on one platform."""

    max_num_seqs: int
    max_num_batched_tokens: int
    block_size: int


PLATFORM_DEFAULTS = {
    "cpu": PlatformDefaults(max_num_seqs=64, max_num_batched_tokens=512, block_size=16),
    "gpu": PlatformDefaults(max_num_seqs=256, max_num_batched_tokens=8192, block_size=64),
    "tpu": PlatformDefaults(max_num_seqs=256, max_num_batched_tokens=8192, block_size=64),
}
MAX_CPU_KV_CACHE_BYTES = 4 * 2**30
CPU_KV_CACHE_SHARE = 0.25
MAX_WIDENED_WEIGHTS_SHARE = 0.25
"""Of the machine's memory: weights are kept as float32 for speed only while they are small."""
FEW_SEQS = 8
"""Up to this `--max-num-seqs` a CPU's steps are bound by the bytes of the weights."""
NARROWEST_DECODE_ROWS = 2
DEFAULT_MAX_NUM_QUEUED_REQUESTS = 1024
"""At least as many as there can be prompts in one HTTP request (`MAX_PROMPTS`)."""
PROMPT_LOGPROBS_CHUNK_TOKENS = 64
"""Most tokens of a step that scores prompts: it computes logits of all of them."""
MAX_WHOLE_VOCABULARY = 4096
"""Largest vocabulary of which a step may report every id (`--max-logprobs -1`)."""
SMALLEST_BUCKET = 8
"""Rows and tokens of a step are padded to at least this many: GEMMs of fewer rows are slower and
not bit-equal to larger ones on CPU."""
LOAD_FORMATS = ("auto", "safetensors", "dummy")
SCHEDULING_POLICIES = ("fcfs", "priority")
DTYPES = ("float32", "bfloat16", "float16")
KV_CACHE_DTYPES = {
    **{dtype: dtype for dtype in DTYPES},
    "fp8": "float8_e4m3fn",
    "fp8_e4m3": "float8_e4m3fn",
    "fp8_e5m2": "float8_e5m2",
    "int8": "int8",
}
"""`--kv-cache-dtype` (but for auto) to the dtype of keys and values in pages."""


class ResolvedConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`EngineConfig` with every `None` and every `auto` decided. Written by `resolve` alone.

    Attributes:
        dtype: of the model's values, keys and activations: float32 | bfloat16 | float16.
        kv_dtype: of keys and values in pages, a value of `KV_CACHE_DTYPES`.
        weight_dtype: in which its weights are kept; float32 where 16-bit products are slow.
        min_decode_rows: rows of the narrowest step that only decodes.
        prompt_logprobs_chunk_tokens: most tokens of a step that scores prompts.
        max_kv_cache_bytes: most bytes of one device for pages.
        is_kv_cache_exact: the operator named `max_kv_cache_bytes`: less is an error.
        max_device_bytes: most bytes of one device for weights, temporaries and pages together.
        num_pages_override: exact number of pages (the trash page included), or None.
        max_num_queued_requests: 0 = no bound.
    """

    dtype: str
    kv_dtype: str
    weight_dtype: str
    min_decode_rows: int
    max_model_len: int
    max_num_seqs: int
    max_num_batched_tokens: int
    prefill_chunk_tokens: int
    prompt_logprobs_chunk_tokens: int
    page_size: int
    max_kv_cache_bytes: int
    is_kv_cache_exact: bool
    max_device_bytes: int
    num_pages_override: int | None
    max_num_queued_requests: int
    max_logprobs: int
    tensor_parallel_size: int
    data_parallel_size: int
    platform: str
    enable_prompt_embeds: bool = False


def resolve(config: EngineConfig, model: ModelLimits, devices: DeviceFacts) -> ResolvedConfig:
    """Decide once everything the operator left open.

    Raises:
        SetupError: a choice cannot be honoured; the sentence names the flag.
    """
    _one_of("load-format", config.load_format, LOAD_FORMATS)
    _one_of("scheduling-policy", config.scheduling_policy, SCHEDULING_POLICIES)
    defaults = PLATFORM_DEFAULTS.get(devices.platform, PLATFORM_DEFAULTS["cpu"])
    max_model_len = _max_model_len(config, model)
    max_num_seqs = _at_least_one("max-num-seqs", config.max_num_seqs, defaults.max_num_seqs)
    max_num_batched_tokens = max(
        SMALLEST_BUCKET,
        _at_least_one(
            "max-num-batched-tokens",
            config.max_num_batched_tokens,
            max(defaults.max_num_batched_tokens, max_num_seqs),
        ),
    )
    if max_num_batched_tokens < max_num_seqs:
        raise SetupError(
            f"--max-num-batched-tokens {max_num_batched_tokens} is less than --max-num-seqs "
            f"{max_num_seqs}: every running sequence needs a token a step. Lower --max-num-seqs."
        )
    dtype = _dtype(config, model)
    weight_dtype = _weight_dtype(dtype, model, devices, max_num_seqs)
    return ResolvedConfig(
        dtype=dtype,
        kv_dtype=_kv_dtype(config, dtype),
        weight_dtype=weight_dtype,
        min_decode_rows=_min_decode_rows(weight_dtype, config, devices),
        max_model_len=max_model_len,
        max_num_seqs=max_num_seqs,
        max_num_batched_tokens=max_num_batched_tokens,
        prefill_chunk_tokens=min(
            max_num_batched_tokens,
            _at_least_one(
                "prefill-chunk-tokens", config.prefill_chunk_tokens, max_num_batched_tokens
            ),
        ),
        prompt_logprobs_chunk_tokens=min(PROMPT_LOGPROBS_CHUNK_TOKENS, max_num_batched_tokens),
        page_size=_page_size(config, defaults),
        max_kv_cache_bytes=_max_kv_cache_bytes(config, devices),
        is_kv_cache_exact=config.kv_cache_memory_bytes is not None,
        max_device_bytes=_max_device_bytes(config, devices),
        num_pages_override=config.num_gpu_blocks_override,
        max_num_queued_requests=max_num_queued_requests(config),
        max_logprobs=_max_logprobs(config, model),
        tensor_parallel_size=_at_least_one("tensor-parallel-size", config.tensor_parallel_size, 1),
        data_parallel_size=_at_least_one("data-parallel-size", config.data_parallel_size, 1),
        platform=devices.platform,
        enable_prompt_embeds=config.enable_prompt_embeds,
    )


def _one_of(flag: str, chosen: str, choices: tuple[str, ...]) -> None:
    if chosen not in choices:
        raise SetupError(f"--{flag} {chosen} is not one of {', '.join(choices)}.")


def _at_least_one(flag: str, chosen: int | None, default: int) -> int:
    value = default if chosen is None else chosen
    if value < 1:
        raise SetupError(f"--{flag} {value} must be at least 1.")
    return value


def _at_least_zero(flag: str, value: int) -> int:
    if value < 0:
        raise SetupError(f"--{flag} {value} must not be negative.")
    return value


def _max_model_len(config: EngineConfig, model: ModelLimits) -> int:
    limit = model.max_position_embeddings
    chosen = _at_least_one("max-model-len", config.max_model_len, limit)
    if chosen > limit:
        raise SetupError(
            f"--max-model-len {chosen} is more than the model's own limit of {limit} tokens "
            "(max_position_embeddings in its config.json)."
        )
    return chosen


def _max_logprobs(config: EngineConfig, model: ModelLimits) -> int:
    if config.max_logprobs != -1:
        return _at_least_zero("max-logprobs", config.max_logprobs)
    if model.vocab_size > MAX_WHOLE_VOCABULARY:
        raise SetupError(
            f"--max-logprobs -1 (the whole vocabulary) is for models of at most "
            f"{MAX_WHOLE_VOCABULARY} token ids; this one has {model.vocab_size}, all of which "
            "every step would sort and report. Give a number, such as 1000."
        )
    return model.vocab_size


def _dtype(config: EngineConfig, model: ModelLimits) -> str:
    dtype = model.dtype if config.dtype == "auto" else config.dtype
    _one_of("dtype", dtype, DTYPES)
    return dtype


def _kv_dtype(config: EngineConfig, dtype: str) -> str:
    _one_of("kv-cache-dtype", config.kv_cache_dtype, ("auto", *KV_CACHE_DTYPES))
    return KV_CACHE_DTYPES.get(config.kv_cache_dtype, dtype)


def _weight_dtype(dtype: str, model: ModelLimits, devices: DeviceFacts, max_num_seqs: int) -> str:
    # Measured on a CPU with AVX-512 but no AMX: float32 products are 1.5 to 1.7 times as fast as
    # bfloat16 ones from 32 rows on, but few rows wait for memory, and bfloat16 has half the bytes.
    # The values stay those of `dtype`.
    if devices.platform != "cpu" or devices.has_half_precision_units:
        return dtype
    if dtype == "bfloat16" and max_num_seqs <= FEW_SEQS:
        return dtype
    widened_bytes = 4 * model.num_matrix_parameters
    is_small = widened_bytes <= MAX_WIDENED_WEIGHTS_SHARE * devices.memory_bytes
    return "float32" if is_small else dtype


def _min_decode_rows(weight_dtype: str, config: EngineConfig, devices: DeviceFacts) -> int:
    # Products of 2 rows have the bits of larger ones where this was tried: float32 and bfloat16
    # on CPUs without matrix units.
    is_tried = weight_dtype in ("float32", "bfloat16") and not devices.has_half_precision_units
    if devices.platform == "cpu" and is_tried and config.data_parallel_size == 1:
        return NARROWEST_DECODE_ROWS
    return SMALLEST_BUCKET


def _page_size(config: EngineConfig, defaults: PlatformDefaults) -> int:
    page_size = _at_least_one("block-size", config.block_size, defaults.block_size)
    if page_size % SMALLEST_BUCKET != 0:
        raise SetupError(f"--block-size {page_size} is not a multiple of {SMALLEST_BUCKET}.")
    return page_size


def _max_kv_cache_bytes(config: EngineConfig, devices: DeviceFacts) -> int:
    if config.kv_cache_memory_bytes is not None:
        return _at_least_one("kv-cache-memory-bytes", config.kv_cache_memory_bytes, 0)
    if devices.platform == "cpu":
        return min(MAX_CPU_KV_CACHE_BYTES, int(devices.memory_bytes * CPU_KV_CACHE_SHARE))
    return devices.free_memory_bytes


def _max_device_bytes(config: EngineConfig, devices: DeviceFacts) -> int:
    # On CPU the machine is shared, and what is free now is all there is. An accelerator is ours:
    # the share is taken of its whole memory, as vLLM does, but never more than is free.
    if devices.platform == "cpu":
        return devices.free_memory_bytes
    if not 0.0 < config.gpu_memory_utilization <= 1.0:
        raise SetupError(
            f"--gpu-memory-utilization {config.gpu_memory_utilization} must be in (0, 1]."
        )
    share = int(devices.memory_bytes * config.gpu_memory_utilization)
    return min(share, devices.free_memory_bytes)


def max_num_queued_requests(config: EngineConfig) -> int:
    """The bound of waiting requests, 0 = none; the same in the client and in the engine.

    Raises:
        SetupError: it is negative.
    """
    if config.max_num_queued_reqs is None:
        return DEFAULT_MAX_NUM_QUEUED_REQUESTS
    return _at_least_zero("max-num-queued-reqs", config.max_num_queued_reqs)
