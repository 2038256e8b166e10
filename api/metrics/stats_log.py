"""A line about load every few seconds, while there is any."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

from api.settings import ServerSettings
from engine.request import EngineStats

if TYPE_CHECKING:
    from engine.client_protocol import GenerationEngine

log = logging.getLogger("servax.stats")


def describe(before: EngineStats, after: EngineStats, elapsed_s: float) -> str | None:
    """What happened in between; None when nothing did and nothing runs.

    Arguments:
        before, after: counters of all engines there have been, gauges of the present one.
    """
    num_steps = after.total_steps - before.total_steps
    if num_steps <= 0 and not (after.num_running or after.num_waiting):
        return None
    prompt = (after.total_prompt_tokens - before.total_prompt_tokens) / elapsed_s
    generated = (after.total_generated_tokens - before.total_generated_tokens) / elapsed_s
    queries = after.total_prefix_queries - before.total_prefix_queries
    hits = after.total_prefix_hits - before.total_prefix_hits
    used = 1 - after.num_free_pages / after.num_pages if after.num_pages else 0.0
    return (
        f"prompt {prompt:.1f} tokens/s, generation {generated:.1f} tokens/s, "
        f"running {after.num_running}, waiting {after.num_waiting}, KV cache {used:.1%}, "
        f"prefix cache hits {hits / queries if queries else 0.0:.1%}"
    )


@contextlib.asynccontextmanager
async def logging_stats(settings: ServerSettings, engine: GenerationEngine) -> AsyncGenerator[None]:
    """Log lines until the block ends, unless the operator wants none."""
    if settings.disable_log_stats:
        yield
        return
    task = asyncio.create_task(_log_for_ever(engine, settings.log_stats_interval_s))
    try:
        yield
    finally:
        task.cancel()


async def _log_for_ever(engine: GenerationEngine, interval_s: float) -> None:
    before, since_s = engine.total_stats, time.monotonic()
    while True:
        await asyncio.sleep(interval_s)
        after, now_s = engine.total_stats, time.monotonic()
        line = describe(before, after, now_s - since_s)
        if line is not None:
            log.info("%s", line)
        before, since_s = after, now_s
