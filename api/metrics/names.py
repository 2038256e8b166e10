"""The metrics of vLLM 0.33 that exist here, with its names and buckets, as one table.

Dashboards, autoscalers and gateways key on these names verbatim.
"""

from __future__ import annotations

import dataclasses

TTFT_BUCKETS_S = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75,
    1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0, 160.0, 640.0, 2560.0,
)  # fmt: skip
TOKEN_LATENCY_BUCKETS_S = (
    0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75,
    1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0,
)  # fmt: skip
REQUEST_LATENCY_BUCKETS_S = (
    0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0,
    120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0,
)  # fmt: skip
TOKEN_COUNT_BUCKETS = (*(float(m * 10**e) for e in range(6) for m in (1, 2, 5)), 1e6)
NUM_SEQUENCES_BUCKETS = (1.0, 2.0, 5.0, 10.0, 20.0)
SLEEP_BUCKETS_S = (0.01, 0.1, 1.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
NUM_PREEMPTIONS_BUCKETS = (1.0, 2.0, 3.0, 4.0, 5.0, 10.0, 20.0)

HTTP_DURATION_BUCKETS_S = (0.1, 0.5, 1.0)
HTTP_DURATION_HIGH_RESOLUTION_BUCKETS_S = (
    0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5,
    5.0, 7.5, 10.0, 30.0, 60.0,
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class HistogramRow:
    """One histogram of a request, labelled with `model_name` and `engine`."""

    name: str
    help: str
    buckets: tuple[float, ...]


REQUEST_HISTOGRAMS = (
    HistogramRow("vllm:time_to_first_token_seconds", "Arrival to first token.", TTFT_BUCKETS_S),
    HistogramRow(
        "vllm:inter_token_latency_seconds",
        "Time between two deliveries of one sequence.",
        TOKEN_LATENCY_BUCKETS_S,
    ),
    HistogramRow(
        "vllm:request_time_per_output_token_seconds",
        "Mean time per output token after the first, of a finished sequence.",
        TOKEN_LATENCY_BUCKETS_S,
    ),
    HistogramRow(
        "vllm:e2e_request_latency_seconds", "Arrival to last token.", REQUEST_LATENCY_BUCKETS_S
    ),
    HistogramRow(
        "vllm:request_queue_time_seconds",
        "Waiting before the first step.",
        REQUEST_LATENCY_BUCKETS_S,
    ),
    HistogramRow(
        "vllm:request_prefill_time_seconds",
        "First step to first token.",
        REQUEST_LATENCY_BUCKETS_S,
    ),
    HistogramRow(
        "vllm:request_decode_time_seconds",
        "First token to last token.",
        REQUEST_LATENCY_BUCKETS_S,
    ),
    HistogramRow(
        "vllm:request_inference_time_seconds",
        "First step to last token.",
        REQUEST_LATENCY_BUCKETS_S,
    ),
    HistogramRow("vllm:request_prompt_tokens", "Tokens of a prompt.", TOKEN_COUNT_BUCKETS),
    HistogramRow(
        "vllm:request_generation_tokens", "Tokens generated for a sequence.", TOKEN_COUNT_BUCKETS
    ),
    HistogramRow(
        "vllm:request_max_num_generation_tokens",
        "Tokens of the longest sequence of a request.",
        TOKEN_COUNT_BUCKETS,
    ),
    HistogramRow(
        "vllm:request_prefill_kv_computed_tokens",
        "Prompt tokens computed, without those found in the prefix cache.",
        TOKEN_COUNT_BUCKETS,
    ),
    HistogramRow("vllm:request_params_n", "The parameter n.", NUM_SEQUENCES_BUCKETS),
    HistogramRow(
        "vllm:request_params_max_tokens", "The parameter max_tokens.", TOKEN_COUNT_BUCKETS
    ),
    HistogramRow(
        "vllm:request_num_preemptions",
        "Times a finished sequence was preempted.",
        NUM_PREEMPTIONS_BUCKETS,
    ),
)

SLEEP_OPERATIONS = ("sleep", "wake")
FINISH_REASONS = ("stop", "length", "repetition", "abort", "error")
REJECTION_REASONS = (
    "max_num_queued_reqs", "max_num_queued_tokens", "draining", "model_loading", "suspended",
)  # fmt: skip

OLD_NAMES = {
    "vllm:gpu_cache_usage_perc": "vllm:kv_cache_usage_perc",
    "vllm:gpu_prefix_cache_queries": "vllm:prefix_cache_queries",
    "vllm:gpu_prefix_cache_hits": "vllm:prefix_cache_hits",
    "vllm:time_per_output_token_seconds": "vllm:inter_token_latency_seconds",
}
"""Names that vLLM had before, and dashboards of others may still ask for."""

UNCOUNTED_HANDLERS = frozenset(
    {"/metrics", "/health", "/ready", "/load", "/ping", "/version", "/server_info"}
)
