"""Prometheus metrics: a registry of its own, so that applications and tests do not share one."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Generator
from typing import TYPE_CHECKING

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    Summary,
    generate_latest,
)

from api.http.access import RequestState
from api.keys.accounts import Account
from api.metrics import names
from api.metrics.engine import EngineCollector
from api.metrics.request_tracker import RequestTracker, TokenCounters

if TYPE_CHECKING:
    from engine.client_protocol import GenerationEngine
    from engine.config import EngineConfig

ENGINE_LABEL = "0"


class Metrics:
    """Everything `/metrics` tells. Methods are called from the event loop only.

    Attributes:
        model_name: value of the label `model_name`.
    """

    def __init__(self, model_name: str, *, shows_old_names: bool = False) -> None:
        self.model_name = model_name
        self._shows_old_names = shows_old_names
        self.registry = CollectorRegistry()
        self._tokens = self._make_token_counters()
        self._make_request_metrics()
        self._make_sleep_metrics()
        self._make_http_metrics()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)

    def attach_engine(self, engine: GenerationEngine, config: EngineConfig) -> None:
        """Read the engine's counters at every scrape from now on. Called once."""
        self.registry.register(EngineCollector(engine, config, self.model_name, ENGINE_LABEL))

    def track(
        self, prompt_tokens: int, n: int, max_tokens: int, account: Account | None = None
    ) -> RequestTracker:
        """Follow one request of `n` sequences; the caller feeds deltas and closes it."""
        return RequestTracker(
            self._histograms,
            self._finished,
            self._tokens,
            num_prompt_tokens=prompt_tokens,
            num_sequences=n,
            max_tokens=max_tokens,
            clock=time.monotonic,
            account=account,
        )

    def rejected(self, reason: str) -> None:
        """A request was refused before it reached the engine."""
        self._rejections.labels(self.model_name, reason).inc()

    @contextlib.contextmanager
    def sleep_operation(self, operation: str) -> Generator[None]:
        """Time one `sleep` or `wake`, also one that fails."""
        in_flight = self._sleeps_in_flight.labels(operation).track_inprogress()
        with in_flight, self._sleep_duration.labels(operation).time():
            yield

    def corrupted(self) -> None:
        """A request ended because logits were not numbers."""
        self._corrupted.labels(self.model_name, ENGINE_LABEL).inc()

    def request_started(self, state: RequestState) -> None:
        """Part of `api.http.access.Observer`; nothing is counted before the end."""

    def request_ended(self, state: RequestState) -> None:
        """Count one HTTP exchange."""
        if state.handler in names.UNCOUNTED_HANDLERS:
            return
        status = f"{state.status // 100}xx"
        self._http_requests.labels(state.method, state.handler, status).inc()
        self._http_duration.labels(state.method, state.handler).observe(state.elapsed_s)
        self._http_duration_high_resolution.observe(state.elapsed_s)
        self._http_request_bytes.labels(state.handler).observe(state.request_bytes)
        self._http_response_bytes.labels(state.handler).observe(state.response_bytes)

    def exposition(self) -> bytes:
        """The Prometheus text format, version 0.0.4."""
        page = generate_latest(self.registry)
        return page + _under_old_names(page) if self._shows_old_names else page

    def _make_token_counters(self) -> TokenCounters:
        def make(name: str, text: str) -> Counter:
            counter = Counter(name, text, ("model_name", "engine"), registry=self.registry)
            return counter.labels(self.model_name, ENGINE_LABEL)

        by_source = {
            name: Counter(
                f"vllm:{name}_by_source",
                "Prompt tokens of requests that are over, by where their pages came from.",
                ("model_name", "engine", "source"),
                registry=self.registry,
            )
            for name in ("prompt_tokens", "prompt_tokens_cached")
        }

        def of_source(name: str, source: str) -> Counter:
            return by_source[name].labels(self.model_name, ENGINE_LABEL, source)

        of_source("prompt_tokens", "external_kv_transfer")
        return TokenCounters(
            source_compute=of_source("prompt_tokens", "local_compute"),
            source_cache=of_source("prompt_tokens", "local_cache_hit"),
            cached_on_device=of_source("prompt_tokens_cached", "device"),
            prompt=make("vllm:prompt_tokens", "Prompt tokens of requests whose answer began."),
            cached=make(
                "vllm:prompt_tokens_cached", "Prompt tokens found in the prefix cache, of those."
            ),
            generated=make(
                "vllm:generation_tokens", "Generated tokens that clients were given, as in usage."
            ),
        )

    def _make_request_metrics(self) -> None:
        labels = ("model_name", "engine")
        self._histograms = {
            row.name: Histogram(
                row.name, row.help, labels, buckets=row.buckets, registry=self.registry
            ).labels(self.model_name, ENGINE_LABEL)
            for row in names.REQUEST_HISTOGRAMS
        }
        finished = Counter(
            "vllm:request_success",
            "Sequences that ended, by reason.",
            (*labels, "finished_reason"),
            registry=self.registry,
        )
        self._finished = {
            reason: finished.labels(self.model_name, ENGINE_LABEL, reason)
            for reason in names.FINISH_REASONS
        }
        self._rejections = Counter(
            "vllm:admission_rejections",
            "Requests refused before they reached the engine.",
            ("model_name", "reason"),
            registry=self.registry,
        )
        for reason in names.REJECTION_REASONS:
            self._rejections.labels(self.model_name, reason)
        self._corrupted = Counter(
            "vllm:corrupted_requests",
            "Requests that ended because logits were not numbers.",
            labels,
            registry=self.registry,
        )
        self._corrupted.labels(self.model_name, ENGINE_LABEL)

    def _make_sleep_metrics(self) -> None:
        self._sleep_duration = Histogram(
            "vllm:sleep_mode_operation_duration_seconds",
            "Duration of one sleep-mode operation.",
            ("operation",),
            buckets=names.SLEEP_BUCKETS_S,
            registry=self.registry,
        )
        self._sleeps_in_flight = Gauge(
            "vllm:sleep_mode_operations_in_flight",
            "Sleep-mode operations currently awaited.",
            ("operation",),
            registry=self.registry,
        )
        for operation in names.SLEEP_OPERATIONS:
            self._sleep_duration.labels(operation)
            self._sleeps_in_flight.labels(operation)

    def _make_http_metrics(self) -> None:
        self._http_requests = Counter(
            "http_requests",
            "Requests by method, status and handler.",
            ("method", "handler", "status"),
            registry=self.registry,
        )
        self._http_request_bytes = Summary(
            "http_request_size_bytes",
            "Bytes of request bodies, as their headers say.",
            ("handler",),
            registry=self.registry,
        )
        self._http_response_bytes = Summary(
            "http_response_size_bytes",
            "Bytes of response bodies.",
            ("handler",),
            registry=self.registry,
        )
        self._http_duration = Histogram(
            "http_request_duration_seconds",
            "Time of whole exchanges.",
            ("method", "handler"),
            buckets=names.HTTP_DURATION_BUCKETS_S,
            registry=self.registry,
        )
        self._http_duration_high_resolution = Histogram(
            "http_request_duration_highr_seconds",
            "Time of whole exchanges, all handlers together, in fine buckets.",
            buckets=names.HTTP_DURATION_HIGH_RESOLUTION_BUCKETS_S,
            registry=self.registry,
        )


def _under_old_names(page: bytes) -> bytes:
    """The families that had other names once, under those."""
    lines = page.decode().splitlines(keepends=True)
    renamed = [
        line.replace(new, old, 1)
        for old, new in names.OLD_NAMES.items()
        for line in lines
        if line.removeprefix("# HELP ").removeprefix("# TYPE ").startswith(new)
    ]
    return "".join(renamed).encode()
