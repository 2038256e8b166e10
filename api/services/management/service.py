"""What an operator can have done to the engine, in vLLM's words."""

from __future__ import annotations

from typing import Any

from api.context import ServerContext
from api.errors import APIError
from api.protocol import management as protocol
from engine.commands import (
    EndRequests,
    Pause,
    PauseMode,
    ReleasePages,
    ResetPrefixCache,
    Resume,
    Sleep,
    StartProfile,
    StopProfile,
    WakeTag,
    WakeUp,
)
from engine.errors import ConflictError

Body = dict[str, Any]

NOT_CONFIGURED = "profiler_not_configured"


async def pause(context: ServerContext, query: protocol.PauseQuery) -> Body:
    """Return when what `mode` says of running requests has happened."""
    await context.engine.control(Pause(PauseMode(query.mode), query.clear_cache))
    return {"status": "paused"}


async def resume(context: ServerContext) -> Body:
    """Raises APIError 409 while the engine is asleep."""
    await context.engine.control(Resume())
    return {"status": "resumed"}


async def sleep(context: ServerContext, query: protocol.SleepQuery) -> Body:
    """Return when the device is free."""
    level = int(query.level)
    with context.metrics.sleep_operation("sleep"):
        await context.engine.control(Sleep(level, PauseMode(query.mode)))
    return {"status": "sleeping", "level": level}


async def wake_up(context: ServerContext, query: protocol.WakeUpQuery) -> Body:
    """Return when what was asked for is on the device again."""
    tags = tuple(WakeTag(tag) for tag in query.tags or ())
    with context.metrics.sleep_operation("wake"):
        is_sleeping = await context.engine.control(WakeUp(tags))
    return {"status": "sleeping" if is_sleeping else "awake", "tags": query.tags}


async def abort_requests(context: ServerContext, request: protocol.AbortRequestsRequest) -> Body:
    """End running and waiting requests; their answers end with the finish reason `abort`."""
    num_aborted = await context.engine.control(EndRequests(tuple(request.request_ids)))
    return {"status": "aborted", "aborted": num_aborted}


async def reset_prefix_cache(context: ServerContext, query: protocol.ResetPrefixCacheQuery) -> Body:
    """Forget what no running request holds, or all of it."""
    command = ResetPrefixCache(query.reset_running_requests)
    return {"success": bool(await context.engine.control(command))}


async def release_kv_cache_memory(context: ServerContext) -> Body:
    """Free the KV pages of a paused engine. Raises APIError 409 while it runs."""
    await context.engine.control(ReleasePages())
    return {"status": "kv_cache_released"}


async def start_profile(context: ServerContext) -> None:
    """Raises APIError 409 while a profile is taken, 404 when no folder is configured."""
    await _profile(context, StartProfile())


async def stop_profile(context: ServerContext) -> None:
    """Raises APIError 409 when no profile is taken, 404 when no folder is configured."""
    await _profile(context, StopProfile())


async def _profile(context: ServerContext, command: StartProfile | StopProfile) -> None:
    try:
        await context.engine.control(command)
    except ConflictError as error:
        # vLLM has no such route then.
        if error.code == NOT_CONFIGURED:
            raise APIError(error.message, status=404, code=error.code) from None
        raise


def scale_elastic_ep(size: int, request: protocol.ScaleElasticEPRequest) -> Body:
    """Answer for a server of `size` data-parallel groups, which is fixed while it runs.

    Raises:
        APIError: 400 for any other size.
    """
    if request.new_data_parallel_size == size:
        return {"message": f"Scaled to {size} data parallel engines"}
    raise APIError(
        f"Unsupported value: 'new_data_parallel_size' is {size} from the start of this server to "
        "its end; start another one with --data-parallel-size.",
        param="new_data_parallel_size",
        code="unsupported_value",
    )
