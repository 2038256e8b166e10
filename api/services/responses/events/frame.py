"""What is told around the output of a response: how it opens, stands and ends, and in what order.

Everything is an event with a number; the last one before an end says what the response is by then.
"""

from __future__ import annotations

import time
from typing import Any

from api.errors import APIError
from api.services.chat.job import ChatJob
from api.services.generation.usage import usage_of
from api.services.responses.events.said import Said
from api.services.responses.events.writer import OutputWriter
from api.services.responses.objects.open_items import Event
from api.services.responses.objects.snapshot import Snapshot, error_of, settings_of, usage_body
from api.services.responses.request.job import ResponseJob

IN_PROGRESS = "in_progress"


class ResponseFrame:
    """Around the output of one response.

    Arguments:
        writer: makes the output.
        said: what the model said until now.

    Attributes:
        chats: the turns of the model that were begun.
        failure: what ended it before its time; None while and if all is well.
    """

    def __init__(
        self, job: ResponseJob, writer: OutputWriter, said: Said, chats: list[ChatJob]
    ) -> None:
        self._job = job
        self._writer = writer
        self._said = said
        sampling = job.chat.generation.request.sampling
        self._settings = settings_of(job.request, sampling, job.chat.identity.model)
        self._num_events = 0
        self.chats = chats
        self.failure: APIError | None = None

    @property
    def is_streamed(self) -> bool:
        """Its events may be asked for again."""
        return bool(self._job.request.stream or self._job.request.background)

    @property
    def usage(self) -> dict[str, Any]:
        """Its tokens until now."""
        return usage_body([usage_of([chat.generation]) for chat in self.chats])

    @property
    def num_tokens_left(self) -> int | None:
        """What the turns until now left of `max_output_tokens`; None: there is no such bound."""
        limit = self._job.request.max_output_tokens
        if limit is None:
            return None
        return max(0, limit - sum(chat.generation.num_tokens for chat in self.chats))

    def numbered(self, events: list[Event]) -> list[Event]:
        """The events, each with the next number."""
        first = self._num_events
        self._num_events += len(events)
        return [event | {"sequence_number": first + i} for i, event in enumerate(events)]

    def opened(self) -> list[Event]:
        """The first events."""
        return self.numbered(self._opening())

    def queued(self) -> list[Event]:
        """The first events of a response that waits for a worker, who makes them again."""
        return self.numbered(self._opening()[:-1])

    def end(self, status: str, cause: str | None) -> list[Event]:
        """The last events, not numbered: of an answer that is complete, or is not for a `cause`."""
        events = list(self._writer.end(status))
        details = None if cause is None else {"reason": cause}
        response = self._ended(status, incomplete_details=details)
        return [*events, {"type": f"response.{status}", "response": response}]

    def fail(self, failure: APIError) -> list[Event]:
        """The last events, not numbered, of a response that failed."""
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

    def failing(self, failure: APIError, number: int) -> list[Event]:
        """The end, if the one that was made with this number could not be told."""
        self._num_events = number
        return self.numbered(self.fail(failure))

    def cancelled(self) -> list[Event]:
        """The end of a response that nobody waits for."""
        events = list(self._writer.close("incomplete"))
        response = self._ended("cancelled")
        return self.numbered([*events, {"type": "response.incomplete", "response": response}])

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
        kinds = {"response.created": IN_PROGRESS, "response.in_progress": IN_PROGRESS}
        if self._job.request.background:
            kinds = {
                "response.created": "queued",
                "response.queued": "queued",
                "response.in_progress": IN_PROGRESS,
            }
        return [{"type": kind, "response": self.snapshot(kinds[kind])} for kind in kinds]

    def _ended(self, status: str, **members: Any) -> Snapshot:
        completed_at = int(time.time()) if status == "completed" else None
        return self.snapshot(status, usage=self.usage, completed_at=completed_at, **members)

    def _raw_messages(self, status: str) -> Snapshot:
        if not self._job.request.enable_response_messages:
            return {}
        chat = (self.chats or [self._job.chat])[0]
        return self._said.messages(chat, is_over=status not in {"queued", IN_PROGRESS})
