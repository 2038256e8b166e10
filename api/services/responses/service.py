"""POST /v1/responses."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import orjson

from api.protocol.responses.request import ResponsesRequest
from api.services.generation.events import EventStream
from api.services.generation.merging import begin, merge
from api.services.requests import Answer, verify_model
from api.services.responses.conversation.history import load_history
from api.services.responses.events.dialects import DialectWriter
from api.services.responses.events.run import ResponseRun
from api.services.responses.exchange import Exchange
from api.services.responses.holding import Holding
from api.services.responses.mcp.asked import without_secrets
from api.services.responses.mcp.servers import Claim
from api.services.responses.objects.open_items import Event
from api.services.responses.request.beginning import begin_job
from api.services.responses.request.making import new_response_id, read_request
from api.services.responses.request.wording import spell
from api.services.responses.stored.background import enqueue, pinned
from api.services.responses.stored.mcp_claims import claimed
from api.services.responses.stored.recorder import Events, Recorder
from api.services.responses.stored.retrieval import follow, told_of_the_cut

KEEP_ALIVE = b": keep-alive\n\n"
"""What a stream that is held says meanwhile."""


async def create_response(
    exchange: Exchange,
    body: Mapping[str, Any],
    *,
    is_begun_first: bool = False,
    response_id: str | None = None,
    claim: Claim | None = None,
) -> Answer:
    """Answer a conversation.

    Arguments:
        is_begun_first: the response is there while it is made, though nobody reads its events.
        response_id: of a new response; None: one that nobody knows yet.
        claim: comes before its first call of an MCP server, and may forbid it.

    Raises:
        APIError, EngineError: the request was refused or failed.
    """
    context = exchange.context
    parsed = read_request(exchange, body)
    request = parsed.request
    verify_model(context, request.model)
    writer = dialect_writer(exchange, request)
    if request.store is not False:
        exchange.verify_storage()
    response_id = new_response_id(request, exchange.project_id, response_id)
    history = await load_history(exchange, request, response_id)
    exchange.remember(history)
    if request.background:
        body = pinned(dict(body))
    job, servers = await begin_job(
        context, request, body, items=history.items, response_id=response_id, claim=claim
    )
    approved = () if servers is None else servers.approved
    is_held = request.tool_outputs_mode == "hold"
    between = Holding(exchange, request, dict(body), history) if is_held else None
    run = ResponseRun(job, between, servers)
    kept = without_secrets(body)
    unknown = parsed.unknown + tuple(map(spell, job.chat.without_effect))
    if request.background:
        queued = await enqueue(exchange, run.frame, history, kept, approved)
        exchange.wake_jobs()
        if not request.stream:
            return Answer(body=orjson.dumps(queued), unknown_fields=unknown)
        events = follow(exchange, response_id, queued)
        written = told_of_the_cut(_written(events, writer), writer)
        return Answer(events=EventStream(written, events), unknown_fields=unknown)
    events = run.events(merge([job.chat.generation]))
    if request.store is not False:
        recorder = Recorder(
            exchange,
            run.frame,
            history,
            kept,
            is_begun_first=is_begun_first or run.frame.is_streamed,
        )
        events = recorder.recorded(events)
    if servers is not None and approved:
        events = claimed(exchange, response_id, servers, events)
    if request.stream:
        written = _written(await begin(events), writer)
        return Answer(events=EventStream(written, events), unknown_fields=unknown)
    answer = await _last(events)
    if run.frame.failure is not None:
        raise run.frame.failure
    return Answer(body=orjson.dumps(answer["response"]), unknown_fields=unknown)


def dialect_writer(exchange: Exchange, request: ResponsesRequest) -> DialectWriter:
    """Writes the events of an answer as its client wants them."""
    options = request.stream_options
    is_padded = options is not None and bool(options.include_obfuscation)
    return DialectWriter(
        exchange.dialect_for(request.event_dialect),
        is_legacy=exchange.context.settings.legacy_reasoning_events,
        is_padded=is_padded,
    )


async def _written(events: Events, writer: DialectWriter) -> AsyncGenerator[bytes, None]:
    async with contextlib.aclosing(events):
        async for ready in events:
            yield writer.write(ready) if ready else KEEP_ALIVE


async def _last(events: Events) -> Event:
    last: Event = {}
    async with contextlib.aclosing(events):
        async for ready in events:
            last = ready[-1]
    return last
