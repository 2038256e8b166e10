"""From items and fields of the Responses API to the body of a chat completion."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from api.protocol.messages import Message, TextPart
from api.protocol.responses.items import (
    CallOutputItem,
    CompactionItem,
    CustomCallItem,
    FunctionCallItem,
    InputItem,
    MessageItem,
    ReasoningItem,
)
from api.protocol.responses.mcp import (
    McpApprovalRequestItem,
    McpApprovalResponseItem,
    McpCallItem,
    McpItem,
    McpListToolsItem,
)
from api.protocol.responses.request import PromptFields, ResponsesRequest, SamplingOfVLLM
from api.protocol.responses.tools import (
    ResponseCustomTool,
    ResponseFunctionTool,
    ResponseTool,
)
from api.services.responses.mcp.told import Teller
from api.services.responses.mcp.toolbox import EMPTY, Toolbox
from api.services.responses.objects.sealed import unseal
from api.services.responses.request.choice import choice_of
from engine.errors import InvalidParameterError

Fields = dict[str, Any]

COMPACTED = "Summary of the conversation up to this point:\n"
"""What the model is told before a compaction's text."""

PASSED = (
    *SamplingOfVLLM.model_fields,
    *("model", "temperature", "top_p", "parallel_tool_calls", "user", "safety_identifier"),
    *("prompt_cache_key", "prompt_cache_retention", "service_tier", "chat_template_kwargs"),
)
"""Fields that chat completions have under the same names."""


@dataclasses.dataclass(frozen=True, slots=True)
class Placed:
    """An item and where the request has it, "" for one that was stored."""

    item: InputItem
    path: str = ""


Told = Message | Placed
"""A piece of a conversation: vLLM's earlier messages are no items."""


def whole_conversation(request: PromptFields, items: Sequence[Placed]) -> list[Told]:
    """All of it, oldest first: the earlier messages come before every item."""
    return [*(request.previous_input_messages or ()), *items]


def chat_body(
    request: ResponsesRequest,
    body: Mapping[str, Any],
    told: Sequence[Told],
    toolbox: Toolbox = EMPTY,
) -> Fields:
    """The body of the chat completion that answers `request`.

    Arguments:
        body: the request as the client sent it.
        told: the conversation, with what the request adds.
        toolbox: tools of servers.
    """
    fields = {name: body[name] for name in PASSED if body.get(name) is not None}
    fields |= prompt_fields(request, told, toolbox)
    if request.max_output_tokens is not None:
        fields["max_completion_tokens"] = request.max_output_tokens
    if request.wants_logprobs:
        fields |= {"logprobs": True, "top_logprobs": request.top_logprobs or 0}
    return fields


def prompt_fields(request: PromptFields, told: Sequence[Told], toolbox: Toolbox = EMPTY) -> Fields:
    """The fields that decide what the prompt is."""
    fields: Fields = {"messages": messages_of(request, told, toolbox)}
    tools = [each for tool in request.tools or () for each in _tools(tool, toolbox)]
    if tools:
        fields["tools"] = tools
    choice = choice_of(request, toolbox)
    if choice is not None and (tools or choice != "auto"):
        fields["tool_choice"] = choice
    if request.reasoning is not None and request.reasoning.effort is not None:
        fields["reasoning_effort"] = request.reasoning.effort
    if request.text is not None and request.text.verbosity is not None:
        fields["verbosity"] = request.text.verbosity
    return fields | _format(request)


def messages_of(
    request: PromptFields, told: Sequence[Told], toolbox: Toolbox = EMPTY
) -> list[Fields]:
    """The conversation: instructions, vLLM's earlier messages, items.

    Raises:
        InvalidParameterError: there is nothing to answer.
    """
    messages: list[Fields] = []
    if request.instructions is not None:
        messages.append({"role": "system", "content": request.instructions})
    items = [each for each in told if isinstance(each, Placed)]
    messages += [_given(each) for each in told if isinstance(each, Message)]
    builder = _MessageBuilder(Teller((each.item for each in items), toolbox))
    for each in items:
        builder.add(each)
    messages += builder.messages
    if not messages:
        raise missing("input")
    return messages


def missing(name: str) -> InvalidParameterError:
    """What a request has to say and does not."""
    return InvalidParameterError(
        f"Missing required parameter: '{name}'.", param=name, code="missing_required_parameter"
    )


def sealed_text(item: InputItem, path: str) -> str:
    """What an item carries sealed; empty if it carries nothing so.

    Raises:
        InvalidParameterError: it was not made by this server.
    """
    if not isinstance(item, ReasoningItem | CompactionItem) or item.encrypted_content is None:
        return ""
    kind = "reasoning" if isinstance(item, ReasoningItem) else "compaction"
    return unseal(kind, item.encrypted_content, f"{path}.encrypted_content")


_OF_MCP = (McpListToolsItem, McpCallItem, McpApprovalRequestItem, McpApprovalResponseItem)


class _MessageBuilder:
    """Items in, messages out: thoughts, text and calls of one turn are one message, as in an
    answer of chat completions."""

    def __init__(self, teller: Teller) -> None:
        self.messages: list[Fields] = []
        self._teller = teller
        self._turn: Fields | None = None

    def add(self, placed: Placed) -> None:
        """The next item."""
        item, path = placed.item, placed.path
        if isinstance(item, FunctionCallItem | CustomCallItem):
            self._join().setdefault("tool_calls", []).append(_call(item))
        elif isinstance(item, ReasoningItem):
            self._take_reasoning(item, path)
        elif isinstance(item, _OF_MCP):
            self._take_remote(item)
        elif isinstance(item, MessageItem) and item.role == "assistant":
            self._join("content")["content"] = _content(item.content)
        else:
            self._turn = None
            self.messages.append(_other(item, path))

    def _take_reasoning(self, item: ReasoningItem, path: str) -> None:
        text = "".join(part.text for part in item.content or ()) or sealed_text(item, path)
        if text:
            self._join("reasoning", "content", "tool_calls")["reasoning"] = text

    def _take_remote(self, item: McpItem) -> None:
        """A call that was made here is followed by what it gave."""
        told = self._teller.told(item)
        if told is None:
            return
        function = {"name": told.name, "arguments": told.arguments}
        call = {"id": told.call_id, "type": "function", "function": function}
        self._join().setdefault("tool_calls", []).append(call)
        self._turn = None
        result = {"role": "tool", "tool_call_id": told.call_id, "content": told.output}
        self.messages.append(result)

    def _join(self, *taken: str) -> Fields:
        """The open turn, or a new one if it already has one of `taken`."""
        turn = self._turn
        if turn is None or any(turn.get(name) is not None for name in taken):
            turn = self._turn = {"role": "assistant", "content": None}
            self.messages.append(turn)
        return turn


def _other(item: InputItem, path: str) -> Fields:
    if isinstance(item, MessageItem):
        return {"role": item.role, "content": _content(item.content)}
    if isinstance(item, CallOutputItem):
        return {"role": "tool", "tool_call_id": item.call_id, "content": _content(item.output)}
    assert isinstance(item, CompactionItem)
    return {"role": "user", "content": COMPACTED + sealed_text(item, path)}


def _content(content: str | Sequence[TextPart]) -> str | list[Fields]:
    """One part is told as the text that it is: a text renders the same, kept or sent again."""
    if isinstance(content, str):
        return content
    if len(content) == 1:
        return content[0].plain_text
    return [{"type": "text", "text": part.plain_text} for part in content]


def _call(item: FunctionCallItem | CustomCallItem) -> Fields:
    if isinstance(item, FunctionCallItem):
        body = {"name": item.name, "arguments": item.arguments}
        return {"id": item.call_id, "type": "function", "function": body}
    custom = {"name": item.name, "input": item.input}
    return {"id": item.call_id, "type": "custom", "custom": custom}


def _given(message: Message) -> Fields:
    return message.model_dump(exclude_none=True)


def _tools(tool: ResponseTool, toolbox: Toolbox) -> list[Fields]:
    if isinstance(tool, ResponseFunctionTool):
        function = tool.model_dump(exclude_none=True, exclude={"type"})
        return [{"type": "function", "function": function}]
    if isinstance(tool, ResponseCustomTool):
        return [_custom(tool)]
    remote = toolbox.of(tool.server_label)
    return [{"type": "function", "function": each.function} for each in remote]


def _custom(tool: ResponseCustomTool) -> Fields:
    custom = tool.model_dump(exclude_none=True, exclude={"type", "format"})
    if tool.format is not None and tool.format.type == "grammar":
        grammar = {"syntax": tool.format.syntax, "definition": tool.format.definition}
        custom["format"] = {"type": "grammar", "grammar": grammar}
    return {"type": "custom", "custom": custom}


def _format(request: PromptFields) -> Fields:
    given = None if request.text is None else request.text.format
    if given is None or given.type == "text":
        return {}
    if given.type == "json_object":
        return {"response_format": {"type": "json_object"}}
    if given.name is None or given.schema_ is None:
        raise missing(f"text.format.{'name' if given.name is None else 'schema'}")
    schema = given.model_dump(by_alias=True, exclude_none=True, exclude={"type"})
    return {"response_format": {"type": "json_schema", "json_schema": schema}}
