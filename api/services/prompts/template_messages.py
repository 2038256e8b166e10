"""A client's message in the shape a chat template reads."""

from __future__ import annotations

import json
from typing import Any, cast

from api.parsers.tool_spec import CUSTOM_INPUT
from api.protocol.messages import FunctionToolCall, Message, ToolCall
from api.settings import ContentFormat
from engine.text.chat_template import ChatTemplate


def template_message(
    message: Message, template: ChatTemplate, content_format: ContentFormat = "auto"
) -> dict[str, Any]:
    """One message in the shape the template reads, or that the operator says it reads."""
    shaped: dict[str, Any] = {"role": _template_role(message.role, template)}
    shaped["content"] = _template_content(message, template, content_format)
    for name in ("name", "tool_call_id", "reasoning", "reasoning_content"):
        value = getattr(message, name)
        if value is not None:
            shaped[name] = value
    reasoning = message.reasoning or message.reasoning_content
    if reasoning is not None:
        shaped |= {"reasoning": reasoning, "reasoning_content": reasoning}
    calls = [_call(call) for call in message.tool_calls or ()]
    if message.function_call is not None:
        calls.append(_call(FunctionToolCall(function=message.function_call)))
    return shaped | ({"tool_calls": calls} if calls else {})


def _template_role(role: str, template: ChatTemplate) -> str:
    return "system" if role == "developer" and not template.knows_developer else role


def _template_content(
    message: Message, template: ChatTemplate, content_format: ContentFormat
) -> str | list[dict[str, str]]:
    content = message.content if message.content is not None else message.refusal
    texts = [content] if isinstance(content, str) else [p.plain_text for p in content or ()]
    is_text = content is None or isinstance(content, str)
    wants_parts = template.content_format == "openai" and not (is_text and template.takes_text)
    if content_format == "openai" or (content_format == "auto" and wants_parts):
        return [{"type": "text", "text": text} for text in texts]
    return "\n".join(texts)


def _call(call: ToolCall) -> dict[str, Any]:
    """A call as templates read it; that of a custom tool has its input as the one argument."""
    if isinstance(call, FunctionToolCall):
        arguments = _arguments(call.function.arguments)
        function = {"name": call.function.name, "arguments": arguments}
    else:
        function = {"name": call.custom.name, "arguments": {CUSTOM_INPUT: call.custom.input}}
    shaped: dict[str, Any] = {"type": "function", "function": function}
    return {"id": call.id, **shaped} if call.id else shaped


def _arguments(text: str) -> dict[str, Any]:
    """Templates want a call's arguments as an object.

    What the model once wrote stays in its conversation for good, also where it is no object: told
    as a custom tool's input is, the model sees it, and the conversation goes on.
    """
    try:
        value = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return {CUSTOM_INPUT: text}
    if value is None:
        return {}
    return cast(dict[str, Any], value) if isinstance(value, dict) else {CUSTOM_INPUT: text}
