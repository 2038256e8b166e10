"""Items of MCP servers as messages to the model: each call with what came of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import orjson

from api.protocol.responses.items import InputItem
from api.protocol.responses.mcp import (
    McpApprovalRequestItem,
    McpApprovalResponseItem,
    McpCallItem,
    McpItem,
)
from api.services.mcp.faults import told_to_model
from api.services.mcp.wire import is_too_deep
from api.services.responses.mcp.toolbox import EMPTY, Toolbox
from engine.errors import InvalidParameterError

UNFINISHED = "Error: The call did not come to an end."
DENIED = "The user did not approve this call."
UNANSWERED = "The user has not approved this call."


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ToldCall:
    """A call, and what the model is told of it."""

    call_id: str
    name: str
    arguments: str
    output: str


class Teller:
    """Knows the approvals of a whole conversation.

    Arguments:
        items: all of it.
    """

    def __init__(self, items: Iterable[InputItem] = (), toolbox: Toolbox = EMPTY) -> None:
        self._toolbox = toolbox
        self._answers: dict[str, McpApprovalResponseItem] = {}
        self._called: set[str] = set()
        for item in items:
            if isinstance(item, McpApprovalResponseItem):
                self._answers[item.approval_request_id] = item
            elif isinstance(item, McpCallItem) and item.approval_request_id is not None:
                self._called.add(item.approval_request_id)

    def told(self, item: McpItem) -> ToldCall | None:
        """What an item tells the model; None: nothing, or another one does."""
        if isinstance(item, McpCallItem):
            call_id = item.id or f"mcp_{item.name}"
            return self._call(call_id, item, item.output if item.error is None else None, item)
        if isinstance(item, McpApprovalRequestItem):
            answer = self._answers.get(item.id)
            return None if item.id in self._called else self._call(item.id, item, _said(answer))
        return None

    def _call(
        self,
        call_id: str,
        item: McpCallItem | McpApprovalRequestItem,
        said: str | None,
        call: McpCallItem | None = None,
    ) -> ToldCall:
        if said is None:
            error: Any = None if call is None else call.error
            said = UNFINISHED if error is None else told_to_model(error)
        name = self._toolbox.spelled(item.server_label, item.name)
        arguments = "{}" if arguments_of(item.arguments) is None else item.arguments
        return ToldCall(call_id=call_id, name=name, arguments=arguments, output=said)


def arguments_of(text: str) -> dict[str, Any] | None:
    """Arguments as they are sent; None: what was written is no object, or is too deep."""
    try:
        arguments: Any = orjson.loads(text or "{}")
    except orjson.JSONDecodeError:
        return None
    return arguments if isinstance(arguments, dict) and not is_too_deep(arguments) else None


def _said(answer: McpApprovalResponseItem | None) -> str:
    """Of a call that was not made."""
    if answer is None:
        return UNANSWERED
    if answer.approve:
        return UNFINISHED
    return f"{DENIED} {answer.reason}" if answer.reason else DENIED


@dataclasses.dataclass(frozen=True, slots=True)
class Approved:
    """A call that the client approved and that was not made yet."""

    request: McpApprovalRequestItem
    path: str


def approved_calls(items: Iterable[tuple[InputItem, str]]) -> list[Approved]:
    """Calls to be made before the model's turn: those that the request itself approves.

    Arguments:
        items: the conversation, each with where the request has it, "" for one from before, which
            is never refused: nobody could take it back.

    Raises:
        InvalidParameterError: an approval of the request is of nothing that waits for one.
    """
    requests: dict[str, McpApprovalRequestItem] = {}
    called: set[str] = set()
    found: dict[str, Approved] = {}
    answered: set[str] = set()
    for item, path in items:
        if isinstance(item, McpApprovalRequestItem):
            requests[item.id] = item
        elif isinstance(item, McpCallItem) and item.approval_request_id is not None:
            called.add(item.approval_request_id)
        elif isinstance(item, McpApprovalResponseItem):
            asked_id = item.approval_request_id
            if path and (asked_id not in requests or asked_id in answered):
                problem = "was answered already" if asked_id in answered else "is not there"
                raise InvalidParameterError(
                    f"Invalid '{path}.approval_request_id': this request {problem}.",
                    param=f"{path}.approval_request_id",
                )
            if asked_id in requests:
                answered.add(asked_id)
            if item.approve and path:
                found[asked_id] = Approved(requests[asked_id], path)
    return [each for asked_id, each in found.items() if asked_id not in called]
