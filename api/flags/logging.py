"""What is logged."""

from __future__ import annotations

from api.flag_types import BOOLEAN, choice
from api.flags.flag import Flag

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
)
