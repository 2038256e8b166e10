"""What a response is made from: the request's job, and what comes between the model's turns."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncGenerator, Sequence
from typing import Protocol

from api.protocol.responses.request import ResponsesRequest
from api.services.chat.job import ChatJob
from api.services.responses.objects.open_items import Item
from api.services.responses.objects.snapshot import Snapshot

OUTPUT_OF = {
    "function_call": "function_call_output",
    "custom_tool_call": "custom_tool_call_output",
}
"""Types of items that answer calls."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ResponseJob:
    """A request that was accepted.

    Attributes:
        created_at: Unix time, in seconds.
        chat: the chat completion that answers it.
    """

    response_id: str
    created_at: int
    request: ResponsesRequest
    chat: ChatJob


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What comes between two answers of the model, and the second of them."""

    items: list[Item]
    chat: ChatJob


class Between(Protocol):
    """Answers calls, so that the response goes on."""

    def after(
        self, snapshot: Snapshot, calls: Sequence[Item], left: int | None
    ) -> AsyncGenerator[Round | None, None]:
        """None for as long as nothing has come; then the next round, of `left` tokens at most, or
        the end without one."""
        ...


def calls_waiting(output: Sequence[Item]) -> list[Item]:
    """The calls of an output that no later item answers."""
    answered = {item["call_id"] for item in output if item["type"] in OUTPUT_OF.values()}
    return [
        item for item in output if item["type"] in OUTPUT_OF and item["call_id"] not in answered
    ]
