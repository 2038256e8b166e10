"""A response as events, from `response.created` to the one event that ends it.

Streams send them, whole answers are what the last one says, background runs write them down: there
is no other way to answer.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Iterator

from api.errors import ended_by_operator
from api.protocol.responses.request import ResponsesRequest
from api.services.chat.job import ChatJob
from api.services.generation.events import told
from api.services.generation.merging import merge
from api.services.generation.output import OutputChunk
from api.services.generation.reading import ChoiceReader
from api.services.responses.events.frame import IN_PROGRESS, ResponseFrame
from api.services.responses.events.said import Said
from api.services.responses.events.writer import OutputWriter
from api.services.responses.mcp.servers import McpServers, left_at_the_end
from api.services.responses.objects.open_items import Event, Item, ItemStyle
from api.services.responses.objects.open_mcp_items import SETTLED_AFTER, OpenMcpCall, OpenMcpList
from api.services.responses.request.job import Between, ResponseJob, Round, calls_waiting
from engine.errors import ContextLengthError, EngineDiedError, OverloadedError, SuspendedError

Ready = list[tuple[int, OutputChunk]]
Chunks = AsyncGenerator[Ready, None]
Batches = AsyncGenerator[Iterator[Event], None]
Events = AsyncGenerator[list[Event], None]

TRANSIENT = (EngineDiedError, OverloadedError, SuspendedError)
"""Failures after which a response can be made again."""

NO_ROOM = "max_output_tokens"
"""OpenAI's reason for an answer that reached its bound, or the end of the model's context."""

INCOMPLETE = {"length": NO_ROOM, "repetition": "repetition_detected"}
"""Reasons for which an answer is not complete, by what ended it."""


class ResponseRun:
    """Makes the events of one response.

    Arguments:
        between: answers calls; None: an answer that calls is the last one.
        servers: answer calls of their tools.

    Attributes:
        frame: what is told around what is said.
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
        self._calls: list[Item] = []
        self._writer = OutputWriter(job.response_id, _style(job.request))
        if servers is not None:
            self._writer.toolbox = servers.toolbox()
        self._reader = ChoiceReader(job.chat.reading)
        self._said = Said()
        self._is_pending = servers is not None and servers.is_pending
        begun = [] if self._is_pending else [job.chat]
        self.frame = ResponseFrame(job, self._writer, self._said, begun)

    async def events(self, stream: Chunks) -> Events:
        """Lists of events, as many as were ready at once.

        Raises:
            APIError, EngineError: the engine refused the request, before any event.
            EngineError: in the background, one of `TRANSIENT` at any time: it can be made again.
        """
        is_begun_later = self._is_pending or bool(self._job.request.background)
        async with left_at_the_end(self._servers), contextlib.aclosing(stream):
            first: Ready = [] if is_begun_later else await anext(stream)
            yield self.frame.opened()
            try:
                async with contextlib.aclosing(self._turns(first, stream)) as turns:
                    async for turn in turns:
                        async with contextlib.aclosing(turn) as lists:
                            async for events in lists:
                                yield events
            except Exception as error:
                if self._job.request.background and isinstance(error, TRANSIENT):
                    raise
                yield self.frame.numbered(self.frame.fail(told(error)))

    async def _turns(self, first: Ready, stream: Chunks) -> AsyncGenerator[Events, None]:
        """What the model says; then, as long as its calls are answered, what it says to that."""
        if self._is_pending:
            yield self._told(self._asked())
            yield self._turn_after_servers()
        else:
            yield self._told(self._answer(first, stream))
        while self._calls:
            if self.frame.num_tokens_left == 0:
                yield self._incomplete(NO_ROOM)
            elif self._servers is not None:
                yield self._turn_after_servers()
            else:
                yield self._turn_after_client()

    async def _incomplete(self, cause: str) -> Events:
        self._calls = []
        yield self.frame.numbered(self.frame.end("incomplete", cause))

    async def _turn_after_client(self) -> Events:
        """Outputs that the client gave, and what the model says to them; if none came, the end."""
        assert self._between is not None
        shown, left = self.frame.snapshot(IN_PROGRESS), self.frame.num_tokens_left
        found: Round | None = None
        async with contextlib.aclosing(self._between.after(shown, self._calls, left)) as waiting:
            async for found in waiting:
                if found is None:
                    yield []
        if found is None:
            rest = self._incomplete("tool_outputs_timeout")
        else:
            added = [event for item in found.items for event in self._writer.add(item)]
            yield self.frame.numbered(added)
            rest = self._begin_turn(found.chat)
        async with contextlib.aclosing(rest):
            async for events in rest:
                yield events

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

    async def _turn_after_servers(self) -> Events:
        """What the model says to what servers gave; if that leaves it no room, the end."""
        assert self._servers is not None
        made, left = self._writer.items, self.frame.num_tokens_left
        try:
            chat, self._writer.toolbox = await self._servers.next_turn(made, left)
            async with contextlib.aclosing(self._begin_turn(chat)) as turn:
                async for events in turn:
                    yield events
        except ContextLengthError:
            if not any(item["type"] == "mcp_call" for item in made):
                raise
            self._calls = []
            yield self.frame.numbered(self.frame.end("incomplete", NO_ROOM))

    async def _answer(self, first: Ready, stream: Chunks) -> Batches:
        """What the model says."""
        async with contextlib.aclosing(stream):
            yield self._taken(first)
            async for ready in stream:
                yield self._taken(ready)

    async def _told(self, batches: Batches) -> Events:
        """Events in lists. Between two lists a server is asked, and its answer decides on more."""
        async with contextlib.aclosing(batches):
            async for events in batches:
                ready: list[Event] = []
                for event in events:
                    ready.append(event)
                    if self._servers is not None and event["type"] in SETTLED_AFTER:
                        yield self.frame.numbered(ready)
                        ready = []
                        opened = self._writer.opened
                        assert isinstance(opened, OpenMcpList | OpenMcpCall)
                        asked = self._servers.settle(opened)
                        await self._job.chat.context.unless_ending(asked)
                if ready:
                    yield self.frame.numbered(ready)

    def _begin_turn(self, chat: ChatJob) -> Events:
        self.frame.chats.append(chat)
        self._reader = ChoiceReader(chat.reading)
        self._calls = []
        return self._told(self._answer([], merge([chat.generation])))

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
            yield from self.frame.fail(ended_by_operator())
            return
        cause = INCOMPLETE.get(reason or "")
        if cause is None:
            yield from self._writer.close("completed")
            self._calls = self._waited_for()
        if not self._calls:
            yield from self.frame.end("completed" if cause is None else "incomplete", cause)

    def _waited_for(self) -> list[Item]:
        """Calls that are answered before the response ends."""
        output = self._writer.items
        if self._servers is not None:
            return self._servers.waits_for(output)
        return [] if self._between is None else calls_waiting(output)


def _style(request: ResponsesRequest) -> ItemStyle:
    reasoning = request.reasoning
    return ItemStyle(
        summary=None if reasoning is None else reasoning.wanted_summary,
        is_sealed="reasoning.encrypted_content" in (request.include or ()),
    )
