"""The engine's own counters and gauges, read from the engine when Prometheus asks.

What clients were given is counted where it is given, in `api.request_tracker`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from engine.request import EngineStats

if TYPE_CHECKING:
    from engine.client_protocol import GenerationEngine
    from engine.config import EngineConfig

LABELS = ("model_name", "engine")

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

    def _iteration_tokens(self, totals: EngineStats) -> Metric:
        """Count and sum are exact; the engine does not send the distribution."""
        computed = totals.total_prompt_tokens - totals.total_cached_tokens
        tokens = computed + totals.total_generated_tokens
        family = HistogramMetricFamily(
            "vllm:iteration_tokens_total", "Tokens computed by a step.", labels=LABELS
        )
        family.add_metric(
            self._label_values, buckets=[("+Inf", totals.total_steps)], sum_value=tokens
        )
        return family

    def _cache_config(self) -> Metric:
        values = {
            "block_size": str(self._engine.info.page_size),
            "num_gpu_blocks": str(self._engine.info.num_pages),
            "cache_dtype": self._config.kv_cache_dtype,
            "enable_prefix_caching": str(self._config.enable_prefix_caching),
            "gpu_memory_utilization": str(self._config.gpu_memory_utilization),
        }
        family = GaugeMetricFamily(
            "vllm:cache_config_info", "The KV cache.", labels=("engine", *values)
        )
        family.add_metric((self._label_values[1], *values.values()), 1)
        return family
