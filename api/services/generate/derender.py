"""The output mode `derender` of /inference/v1/generate: messages beside token ids."""

from __future__ import annotations

import asyncio
from typing import Any

from api.context import ServerContext
from api.protocol.base import SamplingFields
from api.protocol.chat import ChatCompletionRequest
from api.protocol.generate import GenerateTokensRequest, ParseContext
from api.services.chat.reading import formats_of, opens_thoughts, output_settings
from api.services.chat.wire import make_choice
from api.services.derender.answering import Answering, chat_answer
from api.services.generation.collect import Choice
from api.services.guidance.tool_plan import plan_tools
from api.services.naming import naming, within
from api.services.prompts.rendering import RenderedPrompt
from api.services.requests import identify


async def derendering(
    context: ServerContext, request: GenerateTokensRequest, answer_id: str
) -> Answering | None:
    """How messages are read; None in other output modes.

    Whether they begin within thoughts is as the request says, else as in a chat: the prompt's end.

    Raises:
        InvalidParameterError: `parse_context` cannot be honoured.
    """
    if request.output_mode != "derender":
        return None
    ids = tuple(request.token_ids)
    text = await asyncio.to_thread(context.tokenizer.decode, ids, skip_special_tokens=False)
    chat = _chat_request(request.sampling_params, request.parse_context or ParseContext())
    with naming(within("parse_context")):
        plan = plan_tools(chat)
        formats = formats_of(context, plan)
    is_open = opens_thoughts(formats, chat, text)
    if request.is_reasoning_ended is not None:
        is_open = not request.is_reasoning_ended
    answer = chat_answer(
        context,
        chat,
        identify(context, answer_id),
        prompt=RenderedPrompt(token_ids=ids, text=text),
        plan=plan,
        formats=formats,
        num_top=None,
        is_open=is_open,
    )
    return Answering(answer, output_settings(context, formats, chat, is_open=is_open))


def derendered_members(answering: Answering, index: int, choice: Choice) -> dict[str, Any]:
    """What a choice has of a chat's."""
    made = make_choice(answering.answer, index, choice)
    return {name: made[name] for name in ("message", "finish_reason")}


def _chat_request(sampling: SamplingFields, parse: ParseContext) -> ChatCompletionRequest:
    """The request whose answers are read: checked fields, in another order."""
    of_sampling = {name: getattr(sampling, name) for name in SamplingFields.model_fields}
    of_reading: dict[str, Any] = {
        "tools": parse.tools,
        "tool_choice": parse.tool_choice,
        "parallel_tool_calls": parse.parallel_tool_calls,
        "include_reasoning": parse.include_reasoning,
    }
    return ChatCompletionRequest.model_construct(None, messages=[], **of_sampling, **of_reading)
