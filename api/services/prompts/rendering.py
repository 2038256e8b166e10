"""From messages to token ids, through the chat template, in a worker thread."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Sequence
from typing import Any

from api.context import ServerContext
from api.errors import APIError
from api.protocol.chat import ChatCompletionRequest
from api.protocol.tokenize import TokenizeRequest
from api.protocol.tools import Tool
from api.services.prompts.encoding import encode_prompt, truncate
from api.services.prompts.template_messages import template_message
from api.services.prompts.template_tools import template_tools
from api.services.prompts.template_variables import template_variables, verify_template_knows
from engine.errors import InvalidParameterError
from engine.request import PromptEmbeds
from engine.text.chat_template import ChatTemplate, TemplateError


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RenderedPrompt:
    """A prompt ready for the engine.

    Attributes:
        text: as the client or the template wrote it; None when it came as token ids.
        uncut_text: `text` before it was truncated, where it was.
        embeds: the prompt, where it is no tokens; `token_ids` then only tell how many.
        unused_variables: `chat_template_kwargs` that the template does not read.
    """

    token_ids: tuple[int, ...]
    text: str | None
    unused_variables: tuple[str, ...] = ()
    embeds: PromptEmbeds | None = None
    uncut_text: str | None = None

    @property
    def shown_token_ids(self) -> tuple[int, ...] | None:
        """What `return_token_ids` gives; None for embeddings."""
        return self.token_ids if self.embeds is None else None


async def render_chat(
    context: ServerContext,
    request: ChatCompletionRequest | TokenizeRequest,
    tools: Sequence[Tool] = (),
) -> RenderedPrompt:
    """Messages and tools through the chat template, then to ids, in a worker thread.

    Raises:
        InvalidParameterError: the messages or template variables do not work with the template.
    """
    if request.chat_template is None:
        template = choose_template(context, None)
    else:  # which must be compiled
        template = await asyncio.to_thread(choose_template, context, request.chat_template)
    variables = template_variables(context, request, template)
    if tools:
        verify_template_knows(template, "tools")
    unused = tuple(
        f"chat_template_kwargs.{name}"
        for name in request.chat_template_kwargs or {}
        if name not in template.variables
    )

    def work() -> RenderedPrompt:
        text = _apply(context, template, request, variables, template_tools(tools))
        ids = encode_prompt(
            context.tokenizer,
            text,
            context.engine.info,
            param="messages",
            add_special_tokens=bool(request.add_special_tokens),
            is_bounded=not isinstance(request, ChatCompletionRequest)
            or request.truncate_prompt_tokens is None,
        )
        if not ids and request.chat_template is not None:
            message = "Invalid 'chat_template': it makes an empty prompt of these messages."
            raise InvalidParameterError(message, param="chat_template")
        return RenderedPrompt(token_ids=tuple(ids), text=text, unused_variables=unused)

    return await asyncio.to_thread(work)


async def truncated(
    context: ServerContext,
    prompt: RenderedPrompt,
    request: ChatCompletionRequest,
    max_tokens: int | None,
) -> RenderedPrompt:
    """What `truncate_prompt_tokens` leaves of a prompt, ids and text."""
    kept = truncate(prompt.token_ids, request, context.engine.info, max_tokens)
    if len(kept) == len(prompt.token_ids):
        return prompt
    text = await asyncio.to_thread(context.tokenizer.decode, kept, skip_special_tokens=False)
    return dataclasses.replace(prompt, token_ids=kept, text=text, uncut_text=prompt.text)


def choose_template(context: ServerContext, given: str | None) -> ChatTemplate:
    """The server's template, or the request's own where the operator trusts those.

    Raises:
        InvalidParameterError: the request's is not allowed or is no template.
        APIError: there is no template at all.
    """
    if given is not None:
        if not context.settings.trust_request_chat_template:
            raise InvalidParameterError(
                "Invalid 'chat_template': this server does not take templates from requests "
                "(it was started without --trust-request-chat-template).",
                param="chat_template",
                code="unsupported_parameter",
            )
        try:
            return ChatTemplate(given, context.tokenizer.config.special_tokens)
        except TemplateError as error:
            raise InvalidParameterError(str(error)[:1000], param="chat_template") from error
    if context.chat_template is None:
        raise APIError(
            "This model has no chat template; start the server with --chat-template, "
            "or use /v1/completions.",
            param="messages",
            code="unsupported_value",
        )
    return context.chat_template


def _apply(
    context: ServerContext,
    template: ChatTemplate,
    request: ChatCompletionRequest | TokenizeRequest,
    variables: dict[str, Any],
    tools: list[dict[str, Any]],
) -> str:
    content_format = context.settings.chat_template_content_format
    messages = [
        template_message(message, template, content_format) for message in request.messages or ()
    ]
    documents = request.documents if isinstance(request, ChatCompletionRequest) else None
    if request.continue_final_message and request.add_generation_prompt:
        raise InvalidParameterError(
            "Invalid 'continue_final_message': cannot be true while 'add_generation_prompt' is.",
            param="continue_final_message",
        )
    if request.continue_final_message and messages and messages[-1].get("tool_calls"):
        raise InvalidParameterError(
            "Invalid 'continue_final_message': the final message ends with calls of tools, "
            "which cannot be continued.",
            param="continue_final_message",
        )
    try:
        return template.render(
            messages,
            tools=tools,
            documents=documents,
            add_generation_prompt=request.add_generation_prompt,
            continue_final_message=request.continue_final_message,
            variables=variables,
        )
    except TemplateError as error:
        # The operator's template does its part; a client's own may be what fails.
        param = "messages" if request.chat_template is None else "chat_template"
        raise InvalidParameterError(str(error)[:1000], param=param) from error
