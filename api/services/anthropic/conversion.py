"""From Anthropic's words to those of a chat completion."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from api.protocol.anthropic import (
    Block,
    MessageParam,
    MessagesRequest,
    PromptFields,
    RedactedThinkingBlock,
    TextBlock,
    ThinkingBlock,
    ToolChoiceParam,
    ToolParam,
    ToolResultBlock,
    ToolUseBlock,
)
from api.protocol.base import THINKING_SWITCHES
from engine.errors import InvalidParameterError
from engine.text.chat_template import ChatTemplate

Fields = dict[str, Any]

RENAMED = {
    "max_completion_tokens": "max_tokens",
    "stop": "stop_sequences",
    "reasoning_effort": "output_config.effort",
    "response_format": "output_config.format",
    "thinking_token_budget": "thinking.budget_tokens",
    "parallel_tool_calls": "tool_choice.disable_parallel_tool_use",
}
"""What a client of this API calls a field of chat completions."""


def chat_body(request: MessagesRequest, template: ChatTemplate | None) -> Fields:
    """The body of the chat completion that answers `request`."""
    body = prompt_fields(request, template) | {
        "model": request.model,
        "max_completion_tokens": request.max_tokens,
        "stop": request.stop_sequences,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "top_k": request.top_k,
        "cache_salt": request.cache_salt,
        "user": None if request.metadata is None else request.metadata.user_id,
    }
    thinking, output = request.thinking, request.output_config
    if thinking is not None and thinking.type == "enabled" and thinking.budget_tokens is not None:
        body["thinking_token_budget"] = thinking.budget_tokens
    is_omitted = thinking is not None and thinking.display == "omitted"
    if is_omitted or not _asks_to_think(request):
        body["include_reasoning"] = False
    if output is not None and output.format is not None:
        schema = {"name": "answer", "schema": output.format.json_schema, "strict": True}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    return {name: value for name, value in body.items() if value is not None}


def prompt_fields(request: PromptFields, template: ChatTemplate | None) -> Fields:
    """The fields that decide what the prompt is."""
    output = request.output_config
    fields: Fields = {
        "messages": list(_messages(request)),
        "chat_template_kwargs": _template_variables(request, template) or None,
        "reasoning_effort": None if output is None else output.effort,
    }
    if request.tools:
        fields["tools"] = [_tool(tool) for tool in request.tools]
        fields |= _choice(request.tool_choice)
    elif request.tool_choice is not None and request.tool_choice.type in {"any", "tool"}:
        message = "Invalid 'tool_choice': there are no 'tools'."
        raise InvalidParameterError(message, param="tool_choice")
    return fields


def _template_variables(request: PromptFields, template: ChatTemplate | None) -> Fields:
    variables = dict(request.chat_template_kwargs or {})
    if template is None:
        return variables
    switches = [name for name in THINKING_SWITCHES if name in template.variables]
    return dict.fromkeys(switches, _asks_to_think(request)) | variables


def _asks_to_think(request: PromptFields) -> bool:
    """As with Anthropic thinking is off unless it is asked for, here also by an effort."""
    variables, output = request.chat_template_kwargs or {}, request.output_config
    if any(variables.get(name) is True for name in THINKING_SWITCHES):
        return True
    if request.thinking is not None:
        return request.thinking.type != "disabled"
    return output is not None and output.effort is not None


def _tool(tool: ToolParam) -> Fields:
    function: Fields = {"name": tool.name, "parameters": tool.input_schema}
    if tool.description is not None:
        function["description"] = tool.description
    if tool.strict is not None:
        function["strict"] = tool.strict
    return {"type": "function", "function": function}


def _choice(choice: ToolChoiceParam | None) -> Fields:
    if choice is None:
        return {}
    fields: Fields = {"parallel_tool_calls": not choice.disable_parallel_tool_use}
    if choice.type == "tool":
        if choice.name is None:
            raise InvalidParameterError(
                "Missing required parameter: 'tool_choice.name'.",
                param="tool_choice.name",
                code="missing_required_parameter",
            )
        return fields | {"tool_choice": {"type": "function", "function": {"name": choice.name}}}
    return fields | {"tool_choice": "required" if choice.type == "any" else choice.type}


def _messages(request: PromptFields) -> Iterator[Fields]:
    if request.system:
        yield {"role": "system", "content": _text(request.system)}
    for index, message in enumerate(request.messages):
        if isinstance(message.content, str):
            yield {"role": message.role, "content": message.content}
        elif message.role == "assistant":
            yield _assistant(message.content, f"messages[{index}]")
        else:
            yield from _others(message, message.content, f"messages[{index}]")


def _assistant(blocks: Sequence[Block], path: str) -> Fields:
    """One message of thoughts, text and calls."""
    _verify_kinds(blocks, (TextBlock, ThinkingBlock, RedactedThinkingBlock, ToolUseBlock), path)
    text = "".join(block.text for block in blocks if isinstance(block, TextBlock))
    thoughts = "".join(block.thinking for block in blocks if isinstance(block, ThinkingBlock))
    calls = [_call(block) for block in blocks if isinstance(block, ToolUseBlock)]
    message: Fields = {"role": "assistant", "content": text if text or not calls else None}
    if thoughts:
        message["reasoning"] = thoughts
    if calls:
        message["tool_calls"] = calls
    return message


def _call(block: ToolUseBlock) -> Fields:
    arguments = json.dumps(block.input, ensure_ascii=False)
    function = {"name": block.name, "arguments": arguments}
    return {"id": block.id, "type": "function", "function": function}


def _others(message: MessageParam, blocks: Sequence[Block], path: str) -> Iterator[Fields]:
    """Results of calls are messages of their own; text between them stays in its place."""
    _verify_kinds(blocks, (TextBlock, ToolResultBlock), path)
    texts: list[str] = []
    for block in blocks:
        if isinstance(block, TextBlock):
            texts.append(block.text)
        elif isinstance(block, ToolResultBlock):
            if texts:
                yield {"role": message.role, "content": "\n".join(texts)}
                texts = []
            yield _result(block)
    if texts or not blocks:
        yield {"role": message.role, "content": "\n".join(texts)}


def _result(block: ToolResultBlock) -> Fields:
    text = _text(block.content or "")
    content = f"Error: {text}" if block.is_error else text
    return {"role": "tool", "tool_call_id": block.tool_use_id, "content": content}


def _verify_kinds(blocks: Sequence[Block], kinds: tuple[type, ...], path: str) -> None:
    for index, block in enumerate(blocks):
        if not isinstance(block, kinds):
            where = f"{path}.content[{index}].type"
            message = f"Invalid '{where}': a {block.type} block does not belong to this role."
            raise InvalidParameterError(message, param=where)


def _text(content: str | Sequence[TextBlock]) -> str:
    return content if isinstance(content, str) else "\n".join(block.text for block in content)
