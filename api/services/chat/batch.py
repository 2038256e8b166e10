"""POST /v1/chat/completions/batch: several conversations, one answer with a choice for each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

from api.context import ServerContext
from api.protocol.chat import MAX_BATCH, BatchChatCompletionRequest
from api.protocol.later_fields import (
    CHAT,
    Neutral,
    refuse_fields,
    refuse_later_fields,
    refuse_media,
)
from api.protocol.parse import parse_body
from api.services.chat.job import ChatJob
from api.services.chat.service import prepare
from api.services.chat.wire import batch_answer
from api.services.naming import naming
from api.services.requests import Answer, verify_count

NOT_IN_BATCHES: Mapping[str, Neutral] = {
    "stream": (None, False),
    "stream_options": (None,),
    "store": (None, False),
    "n": (None, 1),
    "best_of": (None, 1),
    "use_beam_search": (None, False),
    "tools": (None,),
    "tool_choice": (None, "none"),
    "functions": (None,),
    "function_call": (None, "none"),
    "prompt_logprobs": (None,),
    "return_prompt_text": (None, False),
}
"""Fields of chat completions that one answer to several conversations cannot have, with the
values that ask for nothing."""


async def create_batch_chat_completion(
    context: ServerContext, body: Mapping[str, Any], http_request_id: str | None = None
) -> Answer:
    """Answer each conversation by itself.

    Raises:
        APIError, EngineError: one of them was refused, so none runs; or one failed.
    """
    refuse_later_fields(body, CHAT)
    refuse_fields(body, NOT_IN_BATCHES, "is not allowed in a batch")
    for index, conversation in enumerate(_given(body)):
        with naming(_spell(index)):
            refuse_media({"messages": conversation})
    strict = context.settings.strict_fields
    parsed = parse_body(BatchChatCompletionRequest, body, strict_fields=strict, known=CHAT)
    verify_count(parsed.request.messages, MAX_BATCH, "messages")
    jobs = await _prepare_all(context, parsed.request, http_request_id)
    unknown = parsed.unknown + jobs[0].without_effect
    return Answer(body=await batch_answer(jobs), unknown_fields=unknown)


async def _prepare_all(
    context: ServerContext, request: BatchChatCompletionRequest, http_request_id: str | None
) -> list[ChatJob]:
    jobs: list[ChatJob] = []
    for index in range(len(request.messages)):
        with naming(_spell(index)):
            jobs.append(await prepare(context, request.conversation(index), http_request_id))
    return jobs


def _given(body: Mapping[str, Any]) -> list[Any]:
    """The conversations, of whatever type they are."""
    messages: Any = body.get("messages")
    return cast(list[Any], messages) if isinstance(messages, list) else []


def _spell(index: int) -> Callable[[str], str]:
    """Errors about messages name the conversation they are in."""
    return lambda param: param.replace("messages", f"messages[{index}]", 1)
