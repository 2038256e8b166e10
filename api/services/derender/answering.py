"""How a derendered chat reads: from the chat request, as /v1/chat/completions would read it."""

from __future__ import annotations

import asyncio
import dataclasses
import secrets
from collections.abc import Mapping, Sequence
from typing import Any, cast

from api.context import ServerContext
from api.model.formats import ModelFormats
from api.protocol.chat import ChatCompletionRequest
from api.protocol.derender import GeneratedChunk, GeneratedResponse
from api.protocol.later_fields import CHAT, refuse_fields, refuse_later_fields, refuse_media
from api.protocol.parse import parse_body
from api.services.chat.job import ChatAnswer, answering_role, echoed_text
from api.services.chat.reading import (
    formats_of,
    make_reading,
    opens_thoughts,
    output_settings,
)
from api.services.generation.output import OutputSettings
from api.services.generation.reading import Reading
from api.services.guidance.tool_plan import ToolPlan, plan_tools, shown_tools
from api.services.naming import naming, within
from api.services.prompts.rendering import RenderedPrompt, render_chat
from api.services.prompts.tokenize import verify_known_ids
from api.services.requests import Identity, identify
from engine.errors import InvalidParameterError

_CHAT_REQUEST = within("chat_request")
ALL_ALTERNATIVES = 2**31


@dataclasses.dataclass(frozen=True, slots=True)
class Answering:
    """How tokens become text, and text an answer.

    Attributes:
        unknown_fields: of the chat request, for the `warning` header.
    """

    answer: ChatAnswer
    settings: OutputSettings
    unknown_fields: tuple[str, ...] = ()


async def make_answering(
    context: ServerContext,
    body: Mapping[str, Any],
    prompt_token_ids: Sequence[int] | None,
    given: GeneratedResponse | GeneratedChunk,
) -> Answering:
    """From `chat_request` of `body`, where there is one.

    Raises:
        InvalidParameterError: it is missing and this model's answers need it, or is not valid.
    """
    verify_known_ids(context, prompt_token_ids or (), "prompt_token_ids")
    identity = identify(context, given.request_id or f"chatcmpl-{secrets.token_hex(8)}")
    num_top = ALL_ALTERNATIVES if any(choice.logprobs for choice in given.choices) else None
    chat = cast("dict[str, Any] | None", body.get("chat_request"))
    if chat is None:
        return _plain(context, identity, prompt_token_ids, num_top)
    with naming(_CHAT_REQUEST):
        refuse_later_fields(chat, CHAT)
        refuse_fields(chat, {"store": (None, False)}, "cannot be derendered")
        refuse_media(chat)
        strict = context.settings.strict_fields
        parsed = parse_body(ChatCompletionRequest, chat, strict_fields=strict, known=CHAT)
        request, plan = parsed.request, plan_tools(parsed.request)
        prompt = await _prompt(context, request, plan, prompt_token_ids)
        formats = formats_of(context, plan)
        is_open = opens_thoughts(formats, request, prompt.text or "")
        if num_top is not None and request.logprobs and not request.logprob_token_ids:
            num_top = request.top_logprobs or 0
        unknown = tuple(map(_CHAT_REQUEST, parsed.unknown + prompt.unused_variables))
        return Answering(
            chat_answer(
                context,
                request,
                identity,
                prompt=prompt,
                plan=plan,
                formats=formats,
                num_top=num_top,
                is_open=is_open,
            ),
            output_settings(context, formats, request, is_open=is_open),
            unknown,
        )


def chat_answer(
    context: ServerContext,
    request: ChatCompletionRequest,
    identity: Identity,
    *,
    prompt: RenderedPrompt,
    plan: ToolPlan,
    formats: ModelFormats,
    num_top: int | None,
    is_open: bool,
) -> ChatAnswer:
    """How the answers to `request` read."""
    return ChatAnswer(
        context=context,
        request=request,
        identity=identity,
        prompt=prompt,
        plan=plan,
        reading=make_reading(formats, request, plan, is_open=is_open),
        role=answering_role(context, request),
        echoed=echoed_text(context, request),
        num_top=num_top,
    )


def _plain(
    context: ServerContext,
    identity: Identity,
    prompt_token_ids: Sequence[int] | None,
    num_top: int | None,
) -> Answering:
    """Of a model whose text is all content."""
    formats = context.formats
    if formats.reasoning is not None or formats.tools is not None:
        raise InvalidParameterError(
            "Missing required parameter: 'chat_request', without which this model's calls and "
            "thoughts cannot be told from its content.",
            param="chat_request",
            code="missing_required_parameter",
        )
    answer = ChatAnswer(
        context=context,
        request=ChatCompletionRequest.model_construct(messages=[]),
        identity=identity,
        prompt=RenderedPrompt(token_ids=tuple(prompt_token_ids or ()), text=None),
        plan=ToolPlan(),
        reading=Reading(),
        role=context.settings.response_role,
        echoed="",
        num_top=num_top,
    )
    return Answering(answer, OutputSettings())


async def _prompt(
    context: ServerContext,
    request: ChatCompletionRequest,
    plan: ToolPlan,
    token_ids: Sequence[int] | None,
) -> RenderedPrompt:
    if token_ids is None:
        return await render_chat(context, request, shown_tools(context, plan))
    text = await asyncio.to_thread(context.tokenizer.decode, token_ids, skip_special_tokens=False)
    return RenderedPrompt(token_ids=tuple(token_ids), text=text)
