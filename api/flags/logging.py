"""What is logged."""

from __future__ import annotations

from api.flags.flag import Flag
from api.flags.types import BOOLEAN, TEXT, choice, number

LOGGING = "Logging"

FLAGS = (
    Flag(
        name="enable-log-requests",
        kind=BOOLEAN,
        group=LOGGING,
        fields=("server.enable_log_requests",),
        help="Log a line for every request (never its content).",
    ),
    Flag(
        name="log-level",
        kind=choice(
            "debug", "info", "warning", "error", synonyms={"critical": "error", "trace": "debug"}
        ),
        group=LOGGING,
        fields=("server.log_level",),
        short=("--uvicorn-log-level",),
        environment=("VLLM_LOGGING_LEVEL",),
        help="Least severe messages to log.",
    ),
    Flag(
        name="disable-log-stats",
        kind=BOOLEAN,
        group=LOGGING,
        fields=("server.disable_log_stats",),
        help="Log no lines about load. Metrics stay.",
    ),
    Flag(
        name="log-stats-interval",
        kind=number(0.1, 1e6),
        group=LOGGING,
        fields=("server.log_stats_interval_s",),
        environment=("VLLM_LOG_STATS_INTERVAL",),
        help="Seconds between lines about load; a server without work logs none.",
    ),
    Flag(
        name="show-hidden-metrics-for-version",
        kind=TEXT,
        group=LOGGING,
        fields=("server.show_hidden_metrics_for_version",),
        help="With any version, /metrics has renamed families under vLLM's old names too.",
    ),
)
