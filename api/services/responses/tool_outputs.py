"""POST /v1/responses/{response_id}/tool_outputs: go on with what the tools gave.

a stream that is held   gets the outputs; the answer here is the response as it is
any other response      goes on as a new one when every call has its output; until then the
                        answer is the response itself, `in_progress`

It goes on once, whichever replicas are asked: the id of the new response is written down with the
last output, and stays until a response of this id ended in vain. All who go on make that one
response, and the database takes one row of an id. Who fails or dies before that row is there
leaves nothing that would refuse the next try.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import orjson
from sqlalchemy.ext.asyncio import AsyncSession

from api.errors import APIError
from api.protocol.parse import parse_body
from api.protocol.responses.later import refuse_later_items
from api.protocol.responses.tool_outputs import ToolOutput, ToolOutputsRequest
from api.services.requests import Answer
from api.services.responses.exchange import Exchange
from api.services.responses.holding import answers
from api.services.responses.mcp.asked import verify_complete
from api.services.responses.objects.open_items import Item
from api.services.responses.request.conversion import missing
from api.services.responses.request.job import calls_waiting
from api.services.responses.service import create_response
from api.services.responses.stored.rows import TAKEN
from api.storage import ids
from api.storage.responses import load_response
from api.storage.tables.responses import ResponseRow
from engine.errors import InvalidParameterError

NOT_CONTINUED = frozenset(
    """input previous_response_id conversation stream stream_options background request_id
    previous_input_messages tool_outputs_mode""".split()
)
"""Fields of the request that are not those of the one that goes on with it."""
IN_VAIN = frozenset({"failed", "cancelled"})
"""Statuses of a response after which the one before it can go on again."""
SHOWN_S, POLL_S = 2.0, 0.05
"""How long a held stream's call may take from the client to the database."""


async def give_outputs(exchange: Exchange, response_id: str, body: Mapping[str, Any]) -> Answer:
    """Take outputs, and go on if that was the last of them.

    Raises:
        APIError: 404; 409, it went on already or waits for nothing yet.
        InvalidParameterError: an output is of no call that waits for one.
    """
    refuse_later_items(body.get("tool_outputs"), "tool_outputs")
    refuse_later_items([body], "body")
    strict = exchange.context.settings.strict_fields
    parsed = parse_body(ToolOutputsRequest, body, strict_fields=strict)
    given = _given(parsed.request)
    row, calls = await _taken(exchange, response_id, given)
    if row.is_open or not all(call["call_id"] in row.outputs for call in calls):
        waiting = row.body | {"status": "in_progress"}
        return Answer(body=orjson.dumps(waiting), unknown_fields=parsed.unknown)
    return await _go_on(exchange, row, calls, is_streamed=bool(parsed.request.stream))


async def _taken(
    exchange: Exchange, response_id: str, given: list[tuple[str, ToolOutput]]
) -> tuple[ResponseRow, list[Item]]:
    """The response with the outputs written down, and its calls that wait, or waited."""
    loop = asyncio.get_running_loop()
    until_s = loop.time() + SHOWN_S
    while True:
        try:
            async with exchange.storage.database.writing() as session:
                row = await load_response(session, exchange.project_id, response_id, lock=True)
                calls = await _take(session, row, given)
                is_complete = all(call["call_id"] in row.outputs for call in calls)
                if is_complete and not row.is_open:
                    row.continued_by = await _next_id(session, row)
            return row, calls
        except _NotShown as early:
            if loop.time() > until_s:
                raise early.error from None
        await asyncio.sleep(POLL_S)


class _NotShown(Exception):
    """A held stream may have sent a call that the database does not show yet; else `error`."""

    def __init__(self, error: APIError | InvalidParameterError) -> None:
        super().__init__(str(error))
        self.error = error


async def _go_on(
    exchange: Exchange, row: ResponseRow, calls: list[Item], *, is_streamed: bool
) -> Answer:
    """The response that the outputs make. Raises APIError 409 if somebody else makes it."""
    new_id = row.continued_by or ""
    body = {name: value for name, value in row.request.items() if name not in NOT_CONTINUED}
    if isinstance(body.get("tool_choice"), dict) or body.get("tool_choice") == "required":
        del body["tool_choice"]  # the call that was forced is made
    if row.conversation_id is not None:
        body["conversation"] = row.conversation_id
    else:
        body["previous_response_id"] = row.id
    verify_complete(body)
    body |= {
        "input": answers(new_id, calls, row.outputs, first=0),
        "stream": is_streamed,
    }
    try:
        return await create_response(exchange, body, is_begun_first=True, response_id=new_id)
    except APIError as error:
        if error.code != TAKEN:
            raise
        raise _is_continued(new_id) from None


async def _next_id(session: AsyncSession, row: ResponseRow) -> str:
    """The id of the response that goes on with it, the same for all who try at once."""
    if row.continued_by is None or await session.get(ResponseRow, row.continued_by) is not None:
        return ids.new_id("response")
    return row.continued_by


async def _take(
    session: AsyncSession, row: ResponseRow, given: list[tuple[str, ToolOutput]]
) -> list[Item]:
    """Write the outputs down; the calls that wait, or waited."""
    is_held = row.is_open and row.request.get("tool_outputs_mode") == "hold"
    calls = calls_waiting(row.body["output"])
    if row.is_open and not (is_held and calls):
        error = _conflict("The response is not waiting for outputs of tools.")
        raise _NotShown(error) if is_held else error
    if not calls:
        raise InvalidParameterError(
            "Invalid 'tool_outputs': the response has no calls that wait for outputs.",
            param="tool_outputs",
        )
    if row.continued_by is not None and await _has_gone_on(session, row.continued_by):
        raise _is_continued(row.continued_by)
    wanted = {call["call_id"] for call in calls}
    outputs = dict(row.outputs)
    was_complete = wanted <= set(outputs)
    if is_held and was_complete and all(output.of_call in wanted for _, output in given):
        raise _conflict("The response goes on already.")
    # one that is over and was complete could not go on then: all may be said again
    for path, output in given:
        call_id = output.of_call
        is_again = call_id in outputs and not was_complete
        if call_id not in wanted or is_again:
            problem = "has its output already" if is_again else "is no call that waits for one"
            error = InvalidParameterError(
                f"Invalid '{path}tool_call_id': '{call_id}' {problem}.",
                param=f"{path}tool_call_id",
            )
            raise _NotShown(error) if is_held and not is_again else error
        outputs[call_id] = _plain(output)
    row.outputs = outputs
    return calls


async def _has_gone_on(session: AsyncSession, response_id: str) -> bool:
    """Not if the process died before the next response began, or while it was made, nor if nobody
    waited for its end."""
    later = await session.get(ResponseRow, response_id)
    return later is not None and later.status not in IN_VAIN


def _given(request: ToolOutputsRequest) -> list[tuple[str, ToolOutput]]:
    """The outputs, each with where it is in the body."""
    if request.tool_outputs is not None:
        return [(f"tool_outputs[{i}].", each) for i, each in enumerate(request.tool_outputs)]
    if request.output is None or not request.of_call:
        raise missing("output" if request.output is None else "tool_call_id")
    return [("", ToolOutput(tool_call_id=request.of_call, output=request.output))]


def _plain(output: ToolOutput) -> Any:
    if isinstance(output.output, str):
        return output.output
    return [{"type": "input_text", "text": part.plain_text} for part in output.output]


def _is_continued(response_id: str) -> APIError:
    return _conflict(f"The response was continued already, by '{response_id}'.")


def _conflict(message: str) -> APIError:
    return APIError(message, status=409, code="conflict")
