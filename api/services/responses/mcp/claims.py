"""One approval of a conversation makes one call, however many requests bring it at once.

A response takes up the answers of its request when it begins, before any call, while nobody else
can change the conversation. If it ends in vain and made no call of an answer, that is free again;
of one whose process died nobody knows what it called, so its answers stay taken.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from api.services.responses.open_items import Item
from api.storage.conversations import load_conversation
from api.storage.tables.approvals import ApprovalRow
from api.storage.tables.responses import ResponseRow
from engine.errors import InvalidParameterError


def has_answers(own: Sequence[Item]) -> bool:
    """Whether a request answers requests for approval."""
    return bool(_answers(own))


async def take_up(session: AsyncSession, row: ResponseRow, own: Sequence[Item]) -> None:
    """The answers of a request are those of this response.

    Arguments:
        own: the items of the request.

    Raises:
        APIError: 404, the conversation was deleted meanwhile.
        InvalidParameterError: another response of the conversation has one of them.
    """
    answers = _answers(own)
    if row.conversation_id is None or not answers:
        return
    await load_conversation(session, row.project_id, row.conversation_id, lock=True)
    query = select(ApprovalRow.approval_request_id).where(
        ApprovalRow.conversation_id == row.conversation_id,
        ApprovalRow.approval_request_id.in_(answers),
    )
    for taken in await session.scalars(query):
        param = f"input[{answers[taken]}].approval_request_id"
        raise InvalidParameterError(
            f"Invalid '{param}': this request was answered already.", param=param
        )
    session.add_all(
        ApprovalRow(
            conversation_id=row.conversation_id, approval_request_id=asked_id, response_id=row.id
        )
        for asked_id in answers
    )


async def let_go(session: AsyncSession, row: ResponseRow) -> None:
    """A response ended in vain: answers whose calls it did not make can be given again."""
    called = [item["approval_request_id"] for item in row.body["output"] if _is_approved(item)]
    await session.execute(
        delete(ApprovalRow).where(
            ApprovalRow.response_id == row.id, ApprovalRow.approval_request_id.not_in(called)
        )
    )


def _answers(own: Sequence[Item]) -> dict[str, int]:
    """Where each answer is in the request, by the id of what it answers."""
    return {
        item["approval_request_id"]: index
        for index, item in enumerate(own)
        if item["type"] == "mcp_approval_response"
    }


def _is_approved(item: Item) -> bool:
    return item["type"] == "mcp_call" and item.get("approval_request_id") is not None
