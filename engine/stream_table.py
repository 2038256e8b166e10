"""All requests of one client that have not ended, whichever engine runs them."""

from __future__ import annotations

from collections.abc import Callable

from engine.errors import InvalidParameterError, OverloadedError
from engine.request import ErrorInfo, GenerateRequest, ModelInfo, TokenDelta
from engine.streams import RequestStream
from engine.validation import verify_given

MAX_SUBMISSIONS = 3
"""A request that was in this many engines when they died may be what kills them."""
LOST = ErrorInfo("EngineDiedError", "The engine ended while this request was running.")


class StreamTable:
    """Streams by request id.

    Args:
        max_waiting_requests: bound of open requests beyond the engine's slots; 0 = none.
        submit: sends a request to the present engine.
    """

    def __init__(
        self, max_waiting_requests: int, submit: Callable[[GenerateRequest], None]
    ) -> None:
        self._max_waiting_requests = max_waiting_requests
        self._send = submit
        self._streams: dict[str, RequestStream] = {}

    def open(self, request: GenerateRequest, info: ModelInfo | None) -> RequestStream:
        """A new stream, not submitted yet. `info` is None before the first engine is ready.

        Raises:
            InvalidParameterError: a request with this id is open.
            OverloadedError: too many requests are open.
        """
        if request.request_id in self._streams:
            raise InvalidParameterError("A request with this id is running.", param="request_id")
        self._verify_room(request, info.max_num_seqs if info else 0)
        stream = self._streams[request.request_id] = RequestStream(request)
        return stream

    def find(self, request_id: str) -> RequestStream | None:
        """The stream of this id, if it is open."""
        return self._streams.get(request_id)

    def remove(self, request_id: str) -> None:
        """Its reader has gone."""
        del self._streams[request_id]

    def push(self, delta: TokenDelta) -> None:
        """Hand a delta to its reader; late ones of readers who have gone are dropped."""
        if stream := self._streams.get(delta.request_id):
            stream.push(delta)

    def submit(self, stream: RequestStream, info: ModelInfo) -> None:
        """Send a request to the present engine, unless the model cannot take its prompt."""
        try:
            verify_given(stream.request, info)
        except InvalidParameterError as error:
            stream.refuse(error)
            return
        stream.num_submissions += 1
        self._send(stream.request)

    def submit_all(self, info: ModelInfo) -> None:
        """Send everything that is open to a new engine, in order of arrival."""
        for stream in self._streams.values():
            if stream.is_open:
                self.submit(stream, info)

    def end_lost(self) -> None:
        """The engine is gone: end what cannot run again, because its reader has had a part of it
        or because it was there too often when an engine died."""
        for stream in self._streams.values():
            if stream.has_produced or stream.num_submissions >= MAX_SUBMISSIONS:
                stream.fail(LOST)

    def end_all(self, error: ErrorInfo) -> None:
        """There will be no engine any more."""
        for stream in self._streams.values():
            stream.fail(error)

    def _verify_room(self, request: GenerateRequest, max_num_seqs: int) -> None:
        """As the scheduler does: count requests of a class, so that one that comes alone is
        accepted."""
        max_open = max_num_seqs + self._max_waiting_requests
        if self._max_waiting_requests == 0 or len(self._streams) < max_open:
            return
        # Those that ended but are not read to the end need no place.
        num_open = sum(
            stream.is_open and stream.request.can_wait == request.can_wait
            for stream in self._streams.values()
        )
        if num_open >= max_open:
            raise OverloadedError("The queue of the engine is full; try again later.")
