"""The engine: batch, memory, devices."""

from __future__ import annotations

from api.flags.flag import Flag
from api.flags.types import BOOLEAN, PATH, PROFILER, choice, integer, number, size
from engine.config import KV_CACHE_DTYPES

ENGINE = "Engine"

FLAGS = (
    Flag(
        name="max-num-seqs",
        kind=integer(1, 65536),
        group=ENGINE,
        fields=("engine.max_num_seqs",),
        help="Most sequences running at once. Default: by device.",
    ),
    Flag(
        name="max-num-batched-tokens",
        kind=size(8),
        group=ENGINE,
        fields=("engine.max_num_batched_tokens",),
        help="Most tokens in one step. Default: by device.",
    ),
    Flag(
        name="long-prefill-token-threshold",
        kind=size(1),
        group=ENGINE,
        fields=("engine.prefill_chunk_tokens",),
        help="Most prompt tokens of one sequence in one step. Default: the whole budget.",
    ),
    Flag(
        name="enable-prefix-caching",
        kind=BOOLEAN,
        group=ENGINE,
        fields=("engine.enable_prefix_caching",),
        help="Reuse the KV pages of equal prompt beginnings.",
    ),
    Flag(
        name="enable-prompt-embeds",
        kind=BOOLEAN,
        group=ENGINE,
        fields=("engine.enable_prompt_embeds",),
        help="Take embeddings in place of prompts (`prompt_embeds` of /v1/completions).",
    ),
    Flag(
        name="scheduling-policy",
        kind=choice("fcfs", "priority"),
        group=ENGINE,
        fields=("engine.scheduling_policy",),
        help="priority runs requests with a smaller `priority` earlier.",
    ),
    Flag(
        name="tensor-parallel-size",
        kind=integer(1, 4096),
        group=ENGINE,
        fields=("engine.tensor_parallel_size",),
        short=("-tp",),
        help="Devices that share each layer.",
    ),
    Flag(
        name="data-parallel-size",
        kind=integer(1, 4096),
        group=ENGINE,
        fields=("engine.data_parallel_size",),
        short=("-dp",),
        help="Groups of devices that share the requests.",
    ),
    Flag(
        name="gpu-memory-utilization",
        kind=number(0.01, 1.0),
        group=ENGINE,
        fields=("engine.gpu_memory_utilization",),
        short=("--device-memory-utilization",),
        help="Share of the device's memory to use.",
    ),
    Flag(
        name="kv-cache-memory-bytes",
        kind=size(1),
        group=ENGINE,
        fields=("engine.kv_cache_memory_bytes",),
        help="Bytes for KV pages, instead of what is left of the above.",
    ),
    Flag(
        name="kv-cache-dtype",
        kind=choice("auto", *KV_CACHE_DTYPES),
        group=ENGINE,
        fields=("engine.kv_cache_dtype",),
        help="Type of keys and values in pages: auto is the model's, fp8 is fp8_e4m3. 8 bits hold "
        "twice the tokens; the checkpoint's k_scale and v_scale are used, and int8 needs them.",
    ),
    Flag(
        name="block-size",
        kind=integer(1, 4096),
        group=ENGINE,
        fields=("engine.block_size",),
        help="Tokens in a KV page. Default: by device.",
    ),
    Flag(
        name="num-gpu-blocks-override",
        kind=integer(2),
        group=ENGINE,
        fields=("engine.num_gpu_blocks_override",),
        help="Exact number of KV pages, for tests.",
    ),
    Flag(
        name="compile-cache-dir",
        kind=PATH,
        group=ENGINE,
        fields=("engine.compile_cache_dir",),
        help="Folder of the persistent XLA cache. Default: under the user's cache folder.",
    ),
    Flag(
        name="step-timeout",
        kind=number(0.1, 1e6),
        group=ENGINE,
        fields=("engine.step_timeout_s",),
        help="A step that takes more seconds means the engine hangs; it is restarted.",
    ),
    Flag(
        name="profiler-config",
        kind=PROFILER,
        group=ENGINE,
        fields=("engine.profiler_config",),
        environment=("VLLM_TORCH_PROFILER_DIR",),
        help="Folder that /start_profile writes traces of the engine to (jax.profiler): the path, "
        "or torch_profiler_dir in a JSON object. Default: no profiles.",
    ),
    Flag(
        name="check-invariants",
        kind=BOOLEAN,
        group=ENGINE,
        fields=("engine.check_invariants",),
        help="Check scheduler and KV pages after every step (slow; for finding bugs).",
    ),
)
