"""POST /v1/responses/input_tokens and /v1/responses/compact."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from api.context import ServerContext
from api.protocol.chat import ChatCompletionRequest
from api.protocol.parse import parse_body
from api.protocol.responses.items import MessageItem, stored_form
from api.protocol.responses.later import RESPONSES, refuse_later
from api.protocol.responses.request import CompactRequest, InputTokensRequest, ResponsesRequest
from api.services.generation.collect import collect_unbroken
from api.services.generation.reading import ChoiceReader
from api.services.generation.usage import usage_of
from api.services.guidance.tool_plan import plan_tools, shown_tools
from api.services.naming import naming
from api.services.prompts.rendering import render_chat
from api.services.requests import Answer, verify_model
from api.services.responses.conversation.history import load_history
from api.services.responses.exchange import Exchange
from api.services.responses.mcp.asked import verify_servers
from api.services.responses.objects.ids import item_id
from api.services.responses.objects.sealed import seal
from api.services.responses.objects.snapshot import usage_body
from api.services.responses.request.beginning import known_toolbox
from api.services.responses.request.conversion import (
    Placed,
    Told,
    missing,
    prompt_fields,
    whole_conversation,
)
from api.services.responses.request.job import ResponseJob
from api.services.responses.request.making import make_job
from api.services.responses.request.truncation import fitting
from api.services.responses.request.wording import spell
from api.storage import ids
from engine.validation import verify_context

PASSED = ("chat_template_kwargs", "parallel_tool_calls")
"""Fields of a prompt that chat completions have under the same names."""
COMPACT = (
    "Write a summary of the conversation up to here. It will replace the conversation, so keep "
    "every fact, decision, name, number, open question and unfinished task that what follows may "
    "need. Write the summary only."
)
"""What the model is asked for a compaction."""


async def count_input_tokens(exchange: Exchange, body: Mapping[str, Any]) -> Answer:
    """Tokens of the prompt that a request would make.

    Raises:
        APIError, EngineError: the request was refused.
    """
    context = exchange.context
    refuse_later(body)
    strict = context.settings.strict_fields
    parsed = parse_body(InputTokensRequest, body, strict_fields=strict, known=RESPONSES)
    request = parsed.request
    verify_model(context, request.model)
    history = await load_history(exchange, request, ids.new_id("response"))
    verify_servers(request, context.settings.allowed_mcp_domains)
    toolbox = known_toolbox(request, history.items)
    passed = {name: body[name] for name in PASSED if body.get(name) is not None}
    told = whole_conversation(request, history.items)
    is_cut = request.truncation == "auto"

    async def attempt(kept: Sequence[Told]) -> int:
        fields = prompt_fields(request, kept, toolbox) | passed
        return await _num_tokens(context, fields, has_to_fit=is_cut)

    with naming(spell):
        count = await (fitting(attempt, told) if is_cut else attempt(told))
    answer = {"object": "response.input_tokens", "input_tokens": count}
    return Answer(body=orjson.dumps(answer), unknown_fields=parsed.unknown)


async def _num_tokens(context: ServerContext, fields: dict[str, Any], *, has_to_fit: bool) -> int:
    chat = parse_body(ChatCompletionRequest, fields, strict_fields=True).request
    rendered = await render_chat(context, chat, shown_tools(context, plan_tools(chat)))
    count = len(rendered.token_ids)
    if has_to_fit:  # beside one token of an answer at least
        verify_context(count, 1, context.engine.info, param="messages")
    return count


async def compact(exchange: Exchange, body: Mapping[str, Any]) -> Answer:
    """A shorter window that stands for a conversation: the user's messages as they were, then one
    item with the model's own summary of everything.

    Raises:
        APIError, EngineError: the request was refused or failed.
    """
    context = exchange.context
    refuse_later(body)
    strict = context.settings.strict_fields
    parsed = parse_body(CompactRequest, body, strict_fields=strict, known=RESPONSES)
    given = parsed.request
    verify_model(context, given.model)
    response_id = ids.new_id("response")
    wanted = {"instructions", "previous_response_id", "input", "model"}
    request = ResponsesRequest.model_validate(given.model_dump(include=wanted, exclude_none=True))
    history = await load_history(exchange, request, response_id)
    if not history.items:
        raise missing("input")
    asked = MessageItem(role="user", content=COMPACT)
    passed = {name: body[name] for name in ("model", "prompt_cache_key") if name in body}
    items = [*history.items, Placed(asked)]
    job = await make_job(context, request, passed, items=items, response_id=response_id)
    summary = await _said(job)
    answer = {
        "id": response_id,
        "object": "response.compaction",
        "created_at": int(time.time()),
        "output": [*_users(history.items, response_id), _compaction(response_id, summary)],
        "usage": usage_body([usage_of([job.chat.generation])]),
    }
    return Answer(body=orjson.dumps(answer), unknown_fields=parsed.unknown)


async def _said(job: ResponseJob) -> str:
    """The answer's text; its thoughts if it never got further."""
    (choice,) = await collect_unbroken([job.chat.generation])
    deltas = ChoiceReader(job.chat.reading).read(choice.text, is_last=True)
    content = "".join(delta.content for delta in deltas).strip()
    return content or "".join(delta.reasoning for delta in deltas).strip()


def _users(items: Sequence[Placed], response_id: str) -> list[dict[str, Any]]:
    kept = [
        each.item
        for each in items
        if isinstance(each.item, MessageItem) and each.item.role == "user"
    ]
    return [
        {"id": item_id(response_id, "message", index, is_input=True)} | stored_form(item)
        for index, item in enumerate(kept)
    ]


def _compaction(response_id: str, summary: str) -> dict[str, Any]:
    return {
        "id": item_id(response_id, "compaction", 0),
        "type": "compaction",
        "encrypted_content": seal("compaction", summary),
    }
