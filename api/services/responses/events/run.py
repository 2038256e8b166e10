"""A response as events, from `response.created` to the one event that ends it.

Streams send them, whole answers are what the last one says, background runs write them down: there
is no other way to answer.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncGenerator, Iterator
from typing import Any

from api.errors import APIError
from api.protocol.responses.request import ResponsesRequest
from api.services.chat.job import ChatJob
from api.services.generation.events import told
from api.services.generation.merging import merge
from api.services.generation.output import OutputChunk
from api.services.generation.reading import ChoiceReader
from api.services.generation.usage import usage_of
from api.services.responses.events.said import Said
from api.services.responses.events.writer import OutputWriter
from api.services.responses.mcp.servers import McpServers, left_at_the_end
from api.services.responses.objects.open_items import Event, Item, ItemStyle
from api.services.responses.objects.open_mcp_items import SETTLED_AFTER, OpenMcpCall, OpenMcpList
from api.services.responses.objects.snapshot import Snapshot, error_of, settings_of, usage_body
from api.services.responses.request.job import Between, ResponseJob, Round, calls_waiting
from engine.errors import ContextLengthError, EngineDiedError, OverloadedError, SuspendedError

Ready = list[tuple[int, OutputChunk]]
Chunks = AsyncGenerator[Ready, None]
Batches = AsyncGenerator[Iterator[Event], None]

TRANSIENT = (EngineDiedError, OverloadedError, SuspendedError)
"""Failures after which a response can be made again."""

NO_ROOM = "max_output_tokens"
"""OpenAI's reason for an answer that reached its bound, or the end of the model's context."""

INCOMPLETE = {"length": NO_ROOM, "repetition": "repetition_detected"}
"""Reasons for which an answer is not complete, by what ended it."""

ENDED_BY_OPERATOR = APIError(
    "The operator of the server ended this request.", status=503, code="request_aborted"
)


class ResponseRun:
    """Makes the events of one response.

    Arguments:
        between: answers calls; None: an answer that calls is the last one.
        servers: answer calls of their tools.

    Attributes:
        failure: what ended it before its time; None while and if all is well.
    """

    def __init__(
        self,
        job: ResponseJob,
        between: Between | None = None,
        servers: McpServers | None = None,
    ) -> None:
        self._job = job
        self._between = between
        self._servers = servers
        self._is_pending = servers is not None and servers.is_pending
        self._chats = [] if self._is_pending else [job.chat]
        self._calls: list[Item] = []
        self._writer = OutputWriter(job.response_id, _style(job.request))
        if servers is not None:
            self._writer.toolbox = servers.toolbox()
        self._reader = ChoiceReader(job.chat.reading)
        self._said = Said()
        sampling = job.chat.generation.request.sampling
        self._settings = settings_of(job.request, sampling, job.chat.identity.model)
        self._num_events = 0
        self.failure: APIError | None = None

    @property
    def is_streamed(self) -> bool:
        """Its events may be asked for again."""
        return bool(self._job.request.stream or self._job.request.background)

    @property
    def usage(self) -> dict[str, Any]:
        """Its tokens until now."""
        return usage_body([usage_of([chat.generation]) for chat in self._chats])

    async def events(self, stream: Chunks) -> AsyncGenerator[list[Event], None]:
        """Lists of events, as many as were ready at once.

        Raises:
            APIError, EngineError: the engine refused the request, before any event.
            EngineError: in the background, one of `TRANSIENT` at any time: it can be made again.
        """
        is_begun_later = self._is_pending or bool(self._job.request.background)
        async with left_at_the_end(self._servers), contextlib.aclosing(stream):
            first: Ready = [] if is_begun_later else await anext(stream)
            yield self._numbered(self._opening())
            try:
                async with contextlib.aclosing(self._rounds(first, stream)) as rounds:
                    async for events in rounds:
                        yield events
            except Exception as error:
                if self._job.request.background and isinstance(error, TRANSIENT):
                    raise
                yield self._numbered(self._failed(told(error)))

    async def _rounds(self, first: Ready, stream: Chunks) -> AsyncGenerator[list[Event], None]:
        """What the model says; then, as long as its calls are answered, what it says to that."""
        if self._is_pending:
            async with contextlib.aclosing(self._told(self._asked())) as asked:
                async for events in asked:
                    yield events
        turn = self._told(self._answer(first, stream))
        begun = self._next_turn() if self._is_pending else turn
        async with contextlib.aclosing(begun) as answer:
            async for events in answer:
                yield events
        while self._calls:
            if self._left() == 0:
                yield self._numbered(self._end("incomplete", NO_ROOM))
                return
            if self._servers is not None:
                async with contextlib.aclosing(self._next_turn()) as answer:
                    async for events in answer:
                        yield events
                continue
            found: Round | None = None
            async with contextlib.aclosing(self._waiting()) as waiting:
                async for found in waiting:
                    if found is None:
                        yield []
            if found is None:
                yield self._numbered(self._end("incomplete", "tool_outputs_timeout"))
                return
            added = [event for item in found.items for event in self._writer.add(item)]
            yield self._numbered(added)
            async with contextlib.aclosing(self._begin_round(found.chat)) as answer:
                async for events in answer:
                    yield events

    def _waiting(self) -> AsyncGenerator[Round | None, None]:
        assert self._between is not None
        return self._between.after(self.snapshot("in_progress"), self._calls, self._left())

    def _left(self) -> int | None:
        """What the turns until now left of `max_output_tokens`; None: there is no such bound."""
        limit = self._job.request.max_output_tokens
        if limit is None:
            return None
        return max(0, limit - sum(chat.generation.num_tokens for chat in self._chats))

    async def _asked(self) -> Batches:
        """Lists of tools, and calls that the client approved."""
        assert self._servers is not None
        writer = self._writer
        for label in self._servers.unlisted:
            new_id = self._servers.list_id(writer.next_id("mcp_list_tools"), label)
            yield writer.whole(OpenMcpList(new_id, label))
        for approved in self._servers.approved:
            asked = approved.request
            new_id = writer.next_id("mcp_call")
            call = OpenMcpCall(new_id, asked.server_label, asked.name, asked.id)
            yield writer.whole(call, asked.arguments)

    async def _next_turn(self) -> AsyncGenerator[list[Event], None]:
        """What the model says to what servers gave; if that leaves it no room, the end."""
        assert self._servers is not None
        made = self._writer.items
        try:
            chat, self._writer.toolbox = await self._servers.next_turn(made, self._left())
            async with contextlib.aclosing(self._begin_round(chat)) as answer:
                async for events in answer:
                    yield events
        except ContextLengthError:
            if not any(item["type"] == "mcp_call" for item in made):
                raise
            self._calls = []
            yield self._numbered(self._end("incomplete", NO_ROOM))

    async def _answer(self, first: Ready, stream: Chunks) -> Batches:
        """What the model says."""
        async with contextlib.aclosing(stream):
            yield self._taken(first)
            async for ready in stream:
                yield self._taken(ready)

    async def _told(self, batches: Batches) -> AsyncGenerator[list[Event], None]:
        """Events in lists. Between two lists a server is asked, and its answer decides on more."""
        async with contextlib.aclosing(batches):
            async for events in batches:
                ready: list[Event] = []
                for event in events:
                    ready.append(event)
                    if self._servers is not None and event["type"] in SETTLED_AFTER:
                        yield self._numbered(ready)
                        ready = []
                        opened = self._writer.opened
                        assert isinstance(opened, OpenMcpList | OpenMcpCall)
                        await self._servers.settle(opened)
                if ready:
                    yield self._numbered(ready)

    def _begin_round(self, chat: ChatJob) -> AsyncGenerator[list[Event], None]:
        self._chats.append(chat)
        self._reader = ChoiceReader(chat.reading)
        self._calls = []
        return self._told(self._answer([], merge([chat.generation])))

    def queued(self) -> list[Event]:
        """The first events of a response that waits for a worker, who makes them again."""
        return self._numbered(self._opening()[:-1])

    def failing(self, failure: APIError, number: int) -> list[Event]:
        """The end, if the one that was made with this number could not be told."""
        self._num_events = number
        return self._numbered(self._failed(failure))

    def cancelled(self) -> list[Event]:
        """The end of a response that nobody waits for."""
        events = list(self._writer.close("incomplete"))
        response = self._ended("cancelled")
        return self._numbered([*events, {"type": "response.incomplete", "response": response}])

    def snapshot(self, status: str, **members: Any) -> Snapshot:
        """The response as it is now."""
        job = self._job
        head = {
            "id": job.response_id,
            "created_at": job.created_at,
            "completed_at": None,
            "status": status,
            "error": None,
            "incomplete_details": None,
            "output": list(self._writer.shown),
            "usage": None,
        }
        return head | self._settings | self._raw_messages(status) | members

    def _opening(self) -> list[Event]:
        kinds = {"response.created": "in_progress", "response.in_progress": "in_progress"}
        if self._job.request.background:
            kinds = {
                "response.created": "queued",
                "response.queued": "queued",
                "response.in_progress": "in_progress",
            }
        return [{"type": kind, "response": self.snapshot(kinds[kind])} for kind in kinds]

    def _taken(self, ready: Ready) -> Iterator[Event]:
        for _, chunk in ready:
            yield from self._take(chunk)

    def _take(self, chunk: OutputChunk) -> Iterator[Event]:
        is_last = chunk.finish_reason is not None
        self._said.take(chunk)
        for delta in self._reader.read(chunk.text, is_last=is_last):
            scores = self._said.scores(self._job.chat, delta.content)
            yield from self._writer.take([delta], scores)
            self._said.let_go()
        if is_last:
            yield from self._ending(chunk.finish_reason)

    def _ending(self, reason: str | None) -> Iterator[Event]:
        """The end of the last item, and of the response unless its calls are to be answered."""
        if reason == "abort":
            yield from self._failed(ENDED_BY_OPERATOR)
            return
        cause = INCOMPLETE.get(reason or "")
        if cause is None:
            yield from self._writer.close("completed")
            self._calls = self._waited_for()
        if not self._calls:
            yield from self._end("completed" if cause is None else "incomplete", cause)

    def _waited_for(self) -> list[Item]:
        """Calls that are answered before the response ends."""
        output = self._writer.items
        if self._servers is not None:
            return self._servers.waits_for(output)
        return [] if self._between is None else calls_waiting(output)

    def _end(self, status: str, cause: str | None) -> list[Event]:
        events = list(self._writer.end(status))
        details = None if cause is None else {"reason": cause}
        response = self._ended(status, incomplete_details=details)
        return [*events, {"type": f"response.{status}", "response": response}]

    def _failed(self, failure: APIError) -> list[Event]:
        self.failure = failure
        events = list(self._writer.close("incomplete"))
        response = self._ended("failed", error=error_of(failure))
        return [
            *events,
            {
                "type": "error",
                "code": failure.code or "server_error",
                "message": failure.message,
                "param": failure.param,
            },
            {"type": "response.failed", "response": response},
        ]

    def _ended(self, status: str, **members: Any) -> Snapshot:
        completed_at = int(time.time()) if status == "completed" else None
        return self.snapshot(status, usage=self.usage, completed_at=completed_at, **members)

    def _raw_messages(self, status: str) -> Snapshot:
        if not self._job.request.enable_response_messages:
            return {}
        chat = (self._chats or [self._job.chat])[0]
        return self._said.messages(chat, is_over=status not in {"queued", "in_progress"})

    def _numbered(self, events: list[Event]) -> list[Event]:
        first = self._num_events
        self._num_events += len(events)
        return [event | {"sequence_number": first + i} for i, event in enumerate(events)]


def _style(request: ResponsesRequest) -> ItemStyle:
    reasoning = request.reasoning
    return ItemStyle(
        summary=None if reasoning is None else reasoning.wanted_summary,
        is_sealed="reasoning.encrypted_content" in (request.include or ()),
    )
