"""The engine's own counters and gauges, read from the engine when Prometheus asks.

What clients were given is counted where it is given, in `api.metrics.request_tracker`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from engine.commands import Suspension
from engine.request import STEP_TOKENS_BOUNDS, EngineStats

if TYPE_CHECKING:
    from engine.client_protocol import GenerationEngine
    from engine.config import EngineConfig

LABELS = ("model_name", "engine")
SLEEP_STATES = ("awake", "weights_offloaded", "discard_all")

GAUGES: tuple[tuple[str, str, Callable[[EngineStats], float]], ...] = (
    ("vllm:num_requests_running", "Sequences in slots.", lambda s: s.num_running),
    ("vllm:num_requests_waiting", "Sequences waiting for a slot.", lambda s: s.num_waiting),
    (
        "vllm:kv_cache_usage_perc",
        "Share of KV pages in use; 1 is all.",
        lambda s: 1 - s.num_free_pages / s.num_pages if s.num_pages else 0.0,
    ),
    (
        "servax:compilations_after_ready",
        "XLA compilations since the engine was ready; 0 is the promise.",
        lambda s: s.total_compilations_after_ready,
    ),
    ("servax:compiled_steps", "Step variants compiled so far.", lambda s: s.num_compiled_steps),
    ("servax:planned_steps", "Step variants there will be.", lambda s: s.num_planned_steps),
    ("servax:last_step_seconds", "Time of the last step.", lambda s: s.last_step_time_s),
)

COUNTERS: tuple[tuple[str, str, Callable[[EngineStats], int]], ...] = (
    (
        "servax:engine_generated_tokens",
        "Tokens the device generated, also those past a stop string or after an abort, which no "
        "client was given; vllm:generation_tokens_total has what clients were given.",
        lambda s: s.total_generated_tokens,
    ),
    (
        "vllm:prefix_cache_queries",
        "Tokens looked up in the prefix cache.",
        lambda s: s.total_prefix_queries,
    ),
    (
        "vllm:prefix_cache_hits",
        "Tokens found in the prefix cache.",
        lambda s: s.total_prefix_hits,
    ),
    ("vllm:num_preemptions", "Preemptions.", lambda s: s.total_preemptions),
    ("servax:engine_steps", "Steps run.", lambda s: s.total_steps),
)


class EngineCollector(Collector):
    """Turns `EngineStats` into metric families.

    Gauges are of the present engine process; counters are of all there have been, because a
    restarted one counts from zero.
    """

    def __init__(
        self, engine: GenerationEngine, config: EngineConfig, model_name: str, engine_label: str
    ) -> None:
        self._engine = engine
        self._config = config
        self._label_values = (model_name, engine_label)

    def describe(self) -> list[Metric]:
        """Nothing is known before the first scrape."""
        return []

    def collect(self) -> Iterator[Metric]:
        """All families for one scrape."""
        stats, totals = self._engine.stats, self._engine.total_stats
        for name, text, read in GAUGES:
            family = GaugeMetricFamily(name, text, labels=LABELS)
            family.add_metric(self._label_values, read(stats))
            yield family
        for name, text, read in COUNTERS:
            counter = CounterMetricFamily(name, text, labels=LABELS)
            counter.add_metric(self._label_values, read(totals))
            yield counter
        yield self._restarts()
        yield self._waiting_by_reason(stats)
        yield self._sleep_state(self._engine.suspension)
        yield from self._caches_that_are_not_there()
        yield self._iteration_tokens(totals)
        if self._engine.is_ready:
            yield self._cache_config()

    def _restarts(self) -> Metric:
        """Engines that are never restarted, such as those of tests, do not count restarts."""
        counter = CounterMetricFamily(
            "servax:engine_restarts", "Engine processes lost and started again.", labels=LABELS
        )
        counter.add_metric(self._label_values, getattr(self._engine, "num_restarts", 0))
        return counter

    def _waiting_by_reason(self, stats: EngineStats) -> Metric:
        family = GaugeMetricFamily(
            "vllm:num_requests_waiting_by_reason",
            "Sequences waiting, by reason.",
            labels=(*LABELS, "reason"),
        )
        family.add_metric((*self._label_values, "capacity"), stats.num_waiting)
        family.add_metric((*self._label_values, "deferred"), 0)
        return family

    def _sleep_state(self, suspension: Suspension) -> Metric:
        family = GaugeMetricFamily(
            "vllm:engine_sleep_state",
            "1 for the state the engine is in.",
            labels=(*LABELS, "sleep_state"),
        )
        for level, state in enumerate(SLEEP_STATES):
            is_it = level == suspension.sleep_level
            family.add_metric((*self._label_values, state), float(is_it))
        return family

    def _caches_that_are_not_there(self) -> Iterator[Metric]:
        """Nothing is ever looked up in them."""
        for name in ("external_prefix_cache", "mm_cache"):
            for what in ("queries", "hits"):
                counter = CounterMetricFamily(
                    f"vllm:{name}_{what}", "0: there is no such cache here.", labels=LABELS
                )
                counter.add_metric(self._label_values, 0)
                yield counter

    def _iteration_tokens(self, totals: EngineStats) -> Metric:
        bounds = [*(str(float(bound)) for bound in STEP_TOKENS_BOUNDS), "+Inf"]
        counts = totals.total_steps_by_tokens or (0,) * len(bounds)
        family = HistogramMetricFamily(
            "vllm:iteration_tokens_total", "Tokens computed by a step.", labels=LABELS
        )
        family.add_metric(
            self._label_values,
            buckets=list(zip(bounds, itertools.accumulate(counts), strict=True)),
            sum_value=totals.total_step_tokens,
        )
        return family

    def _cache_config(self) -> Metric:
        config, info = self._config, self._engine.info
        num_tokens = (info.num_pages - 1) * info.page_size
        values = {
            "block_size": str(info.page_size),
            "user_specified_block_size": str(config.block_size is not None),
            "num_gpu_blocks": str(info.num_pages),
            "num_gpu_blocks_override": str(config.num_gpu_blocks_override),
            "num_cpu_blocks": "None",
            "cache_dtype": config.kv_cache_dtype,
            "enable_prefix_caching": str(config.enable_prefix_caching),
            "prefix_caching_hash_algo": "sha256",
            "gpu_memory_utilization": str(config.gpu_memory_utilization),
            "kv_cache_memory_bytes": str(config.kv_cache_memory_bytes),
            "kv_cache_size_tokens": str(num_tokens),
            "kv_cache_max_concurrency": str(num_tokens / info.max_model_len),
            "is_attention_free": "False",
        }
        family = GaugeMetricFamily(
            "vllm:cache_config_info", "The KV cache.", labels=("engine", *values)
        )
        family.add_metric((self._label_values[1], *values.values()), 1)
        return family
