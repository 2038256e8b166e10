"""POST /tokenize and /detokenize."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, cast

import orjson

from api.context import ServerContext
from api.errors import APIError
from api.protocol.later_fields import TOKENIZE, refuse_later_fields, refuse_media
from api.protocol.parse import parse_body
from api.protocol.tokenize import DetokenizeRequest, TokenizeRequest
from api.services.guidance.tool_plan import verify_tools
from api.services.prompts.encoding import encode_text
from api.services.prompts.rendering import render_chat
from api.services.requests import Answer, verify_model
from engine.errors import InvalidParameterError

LONG_TOKENS = 4096
OF_MESSAGES = (
    "tools",
    "chat_template",
    "chat_template_kwargs",
    "add_generation_prompt",
    "continue_final_message",
)
"""Fields that mean nothing to a prompt."""


async def tokenize(context: ServerContext, body: Mapping[str, Any]) -> Answer:
    """Ids of a prompt, of several, or of a rendered conversation.

    Raises:
        APIError, EngineError: the request was refused.
    """
    refuse_later_fields(body, TOKENIZE)
    refuse_media(body)
    parsed = parse_body(
        TokenizeRequest, body, strict_fields=context.settings.strict_fields, known=TOKENIZE
    )
    request = parsed.request
    verify_model(context, request.model)
    if (request.prompt is None) == (request.messages is None):
        raise InvalidParameterError(
            "Missing required parameter: exactly one of 'prompt' and 'messages'.",
            param="prompt",
            code="missing_required_parameter",
        )
    lists = await _token_lists(context, request)
    is_single = not isinstance(request.prompt, list)
    strings = [_strings(context, ids) for ids in lists] if request.return_token_strs else None
    answer = {
        "count": sum(map(len, lists)),
        "max_model_len": context.engine.info.max_model_len,
        "tokens": lists[0] if is_single else lists,
        "token_strs": strings[0] if strings and is_single else strings,
    }
    return Answer(body=orjson.dumps(answer), unknown_fields=parsed.unknown)


def tokenizer_info(context: ServerContext) -> bytes:
    """tokenizer_config.json with the chat template in use, as JSON.

    Raises:
        APIError: 404 unless the operator switched it on.
    """
    if not context.settings.enable_tokenizer_info_endpoint:
        message = "This server was started without --enable-tokenizer-info-endpoint."
        raise APIError(message, status=404, code="not_found")
    config, template = context.tokenizer.config, context.chat_template
    found = config.source | {
        "tokenizer_class": config.tokenizer_class or "PreTrainedTokenizerFast",
        "chat_template": None if template is None else template.source,
    }
    return orjson.dumps(found, option=orjson.OPT_NON_STR_KEYS)


async def detokenize(context: ServerContext, body: Mapping[str, Any]) -> Answer:
    """Text of ids, or texts of lists of ids.

    Raises:
        APIError, EngineError: the request was refused.
    """
    parsed = parse_body(DetokenizeRequest, body, strict_fields=context.settings.strict_fields)
    verify_model(context, parsed.request.model)
    tokens: Any = parsed.request.tokens
    is_many = bool(tokens) and isinstance(tokens[0], list)
    lists = cast(list[list[int]], tokens if is_many else [tokens])
    for ids in lists:
        verify_known_ids(context, ids, "tokens")

    def work() -> list[str]:
        return [context.tokenizer.decode(ids, skip_special_tokens=False) for ids in lists]

    is_long = sum(map(len, lists)) > LONG_TOKENS
    texts = await asyncio.to_thread(work) if is_long else work()
    answer = {"prompt": texts if is_many else texts[0]}
    return Answer(body=orjson.dumps(answer), unknown_fields=parsed.unknown)


def verify_known_ids(context: ServerContext, token_ids: Sequence[int], param: str) -> None:
    """Raise InvalidParameterError for an id that neither tokenizer nor model has."""
    size = max(context.tokenizer.vocab_size, context.engine.info.vocab_size)
    outside = max(token_ids, default=0)
    if outside >= size:
        message = f"Token id {outside} is out of vocabulary (size {size})."
        raise InvalidParameterError(message, param=param)


async def _token_lists(context: ServerContext, request: TokenizeRequest) -> list[list[int]]:
    if request.prompt is None:
        tools = request.tools or ()
        verify_tools(tools)
        return [list((await render_chat(context, request, tools)).token_ids)]
    for name in OF_MESSAGES:
        if getattr(request, name) != TokenizeRequest.model_fields[name].default:
            message = f"Invalid '{name}': only allowed with 'messages'."
            raise InvalidParameterError(message, param=name)
    prompts = [request.prompt] if isinstance(request.prompt, str) else request.prompt
    adds_special = request.add_special_tokens is not False
    return [
        await encode_text(
            context, text, param="prompt", add_special_tokens=adds_special, is_bounded=False
        )
        for text in prompts
    ]


def _strings(context: ServerContext, ids: list[int]) -> list[str]:
    return [context.tokenizer.token_string(token_id) or "" for token_id in ids]
