"""Chat completions that are kept, written down before their end is told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from sqlalchemy import delete, exists, select
from sqlalchemy.ext.asyncio import AsyncSession

from api.context import ServerContext
from api.http.noted_fields import read_fields
from api.protocol.responses.queries import CompletionsQuery, ItemsQuery, MessagesQuery
from api.protocol.stored_chat import UpdateChatCompletionRequest
from api.services.chat.job import ChatJob
from api.services.chat.service import Keep
from api.services.responses.conversation.listing import page_of_items
from api.storage.owned import id_of, load_owned, owned
from api.storage.paging import PageQuery, page_body, page_of
from api.storage.store import Storage
from api.storage.tables.chat_completions import ChatCompletionRow, ChatCompletionTagRow

Body = dict[str, Any]


def keeper(storage: Storage) -> Keep:
    """Keeps answers of a conversation in this storage."""

    async def keep(job: ChatJob, answer: bytes) -> None:
        request = job.request
        tags = request.metadata or {}
        body = orjson.loads(answer)
        body.pop("metadata", None)
        row = ChatCompletionRow(
            id=job.identity.response_id,
            project_id=job.context.tenant.project_id,
            created_at=job.identity.created,
            model=job.identity.model,
            body=body,
            messages=[
                message.model_dump(exclude_unset=True, exclude_none=True)
                for message in request.messages
            ],
            tags=tags,
        )
        async with storage.database.writing() as session:
            # what an earlier attempt left, whose answer nobody was given
            await session.execute(_tags_of(row.id))
            await session.merge(row)
            _add_tags(session, row)

    return keep


async def list_completions(
    context: ServerContext, storage: Storage, query: CompletionsQuery, wanted: Mapping[str, str]
) -> Body:
    """One page of those with this model and metadata. Raises APIError 400 for a bad cursor."""
    rows = owned(ChatCompletionRow, context.tenant.project_id)
    if query.model is not None:
        rows = rows.where(ChatCompletionRow.model == query.model)
    for key, value in wanted.items():
        tag = select(ChatCompletionTagRow).where(
            ChatCompletionTagRow.completion_id == ChatCompletionRow.id,
            ChatCompletionTagRow.key == key,
            ChatCompletionTagRow.value == value,
        )
        rows = rows.where(exists(tag))
    page = PageQuery(after=query.after, limit=query.limit, order=query.order)
    async with storage.database.reading() as session:
        found = await page_of(session, rows, id_of(ChatCompletionRow), page, "chat_completion")
    return page_body(found, shown)


async def retrieve(context: ServerContext, storage: Storage, completion_id: str) -> Body:
    """Raises APIError 404."""
    async with storage.database.reading() as session:
        return shown(await _load(session, context, completion_id))


async def update(
    context: ServerContext, storage: Storage, completion_id: str, body: Mapping[str, Any]
) -> Body:
    """Give it other metadata. Raises InvalidParameterError, APIError 404."""
    strict = context.settings.strict_fields
    request = read_fields(UpdateChatCompletionRequest, body, strict_fields=strict)
    async with storage.database.writing() as session:
        row = await _load(session, context, completion_id, lock=True)
        row.tags = request.metadata or {}
        await session.execute(_tags_of(row.id))
        _add_tags(session, row)
    return shown(row)


async def remove(context: ServerContext, storage: Storage, completion_id: str) -> Body:
    """Raises APIError 404."""
    async with storage.database.writing() as session:
        row = await _load(session, context, completion_id, lock=True)
        await session.execute(_tags_of(row.id))
        await session.delete(row)
    return {"object": "chat.completion.deleted", "id": completion_id, "deleted": True}


async def list_messages(
    context: ServerContext, storage: Storage, completion_id: str, query: MessagesQuery
) -> Body:
    """One page of the messages of its request. Raises APIError."""
    async with storage.database.reading() as session:
        row = await _load(session, context, completion_id)
    messages = [
        {**_message(message), "id": f"{row.id}-{index}"}
        for index, message in enumerate(row.messages)
    ]
    paging = ItemsQuery(limit=query.limit, order=query.order, after=query.after)
    return page_of_items(messages, paging)


def shown(row: ChatCompletionRow) -> Body:
    """A completion as clients see it."""
    return {**row.body, "metadata": row.tags}


def _message(message: Body) -> Body:
    """Content in parts is apart from content that is text, as with OpenAI."""
    content = message.get("content")
    parts = content if isinstance(content, list) else None
    return {**message, "content": None if parts is not None else content, "content_parts": parts}


async def _load(
    session: AsyncSession, context: ServerContext, completion_id: str, *, lock: bool = False
) -> ChatCompletionRow:
    project_id = context.tenant.project_id
    return await load_owned(
        session, ChatCompletionRow, project_id, completion_id, "chat completion", lock=lock
    )


def _add_tags(session: AsyncSession, row: ChatCompletionRow) -> None:
    session.add_all(
        ChatCompletionTagRow(completion_id=row.id, key=key, value=value)
        for key, value in row.tags.items()
    )


def _tags_of(completion_id: str) -> Any:
    return delete(ChatCompletionTagRow).where(ChatCompletionTagRow.completion_id == completion_id)
