"""Bounds of requests and queues."""

from __future__ import annotations

from api.flags.flag import Flag
from api.flags.types import SECONDS, integer, size

LIMITS = "Limits"

FLAGS = (
    Flag(
        name="max-num-queued-reqs",
        kind=integer(0),
        group=LIMITS,
        fields=("server.max_num_queued_reqs", "engine.max_num_queued_reqs"),
        help="Requests waiting beyond the running ones before 503; 0 is no bound.",
    ),
    Flag(
        name="rate-limit-requests",
        kind=integer(1, 2**53),
        group=LIMITS,
        fields=("server.rate_limit_requests",),
        help="Requests a key may make in a minute before 429, in each server process, unless "
        "the key has a limit of its own.",
    ),
    Flag(
        name="rate-limit-tokens",
        kind=integer(1, 2**53),
        group=LIMITS,
        fields=("server.rate_limit_tokens",),
        help="Tokens, of prompts and answers, that a key may use in a minute before 429; likewise.",
    ),
    Flag(
        name="max-logprobs",
        kind=integer(-1, 1000),
        group=LIMITS,
        fields=("engine.max_logprobs",),
        help="Most alternatives a request may ask for per token; -1 is a whole small vocabulary.",
    ),
    Flag(
        name="max-request-body-size",
        kind=size(1024, 2**31),
        group=LIMITS,
        fields=("server.max_body_bytes",),
        environment=("VLLM_HTTP_MAX_REQUEST_BODY_SIZE",),
        help="Largest request body, in bytes.",
    ),
    Flag(
        name="h11-max-incomplete-event-size",
        kind=size(1024, 2**24),
        group=LIMITS,
        fields=("server.max_header_bytes",),
        help="Largest request line and headers together, in bytes; a longer path is 414, more "
        "headers are 431.",
    ),
    Flag(
        name="h11-max-header-count",
        kind=integer(1, 100_000),
        group=LIMITS,
        fields=("server.max_num_headers",),
        help="Most headers of a request.",
    ),
    Flag(
        name="request-body-timeout",
        kind=SECONDS,
        group=LIMITS,
        fields=("server.body_timeout_s",),
        help="Seconds a request's body may take to arrive.",
    ),
)
