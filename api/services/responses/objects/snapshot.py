"""The response object, at any time of its life."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from api.errors import APIError
from api.protocol.responses.mcp import McpTool
from api.protocol.responses.request import ResponsesRequest
from api.protocol.responses.tools import ResponseCustomTool, ResponseTool
from api.services.generation.usage import Usage
from engine.request import SamplingParams

Snapshot = dict[str, Any]


KNOWN_CODES = frozenset({"server_error", "rate_limit_exceeded", "invalid_prompt"})
"""Of those that OpenAI's clients know, the ones that are not of images or services elsewhere."""


def error_of(failure: APIError) -> dict[str, str]:
    """What a response that failed says of it, with a code that OpenAI's clients know; the `error`
    event of the stream has the exact one."""
    closest = "invalid_prompt" if failure.status == 400 else "server_error"
    code = failure.code if failure.code in KNOWN_CODES else closest
    return {"code": code, "message": failure.message}


def settings_of(request: ResponsesRequest, sampling: SamplingParams, model: str) -> Snapshot:
    """What stays the same for the whole life of a response: the request, as it was understood."""
    return {
        "object": "response",
        "model": model,
        "background": bool(request.background),
        "conversation": _reference(request.conversation_id),
        "instructions": request.instructions,
        "max_output_tokens": request.max_output_tokens,
        "max_tool_calls": request.max_tool_calls,
        "metadata": request.metadata or {},
        "parallel_tool_calls": request.parallel_tool_calls is not False,
        "previous_response_id": request.previous_response_id,
        "prompt": None,
        "prompt_cache_key": request.prompt_cache_key,
        "prompt_cache_retention": request.prompt_cache_retention,
        "reasoning": _reasoning(request),
        "safety_identifier": request.safety_identifier,
        "service_tier": "default",
        "store": request.store is not False,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
        "text": _text(request),
        "tool_choice": _tool_choice(request),
        "tools": [_tool(tool) for tool in request.tools or ()],
        "top_logprobs": request.top_logprobs or 0,
        "truncation": request.truncation or "disabled",
        "user": request.user,
    }


def usage_body(turns: Sequence[Usage]) -> dict[str, Any]:
    """Tokens in the words of this API, and vLLM's, which tell the model's turns apart where there
    are several. What a turn's prompt has beyond the one before it and its answer, tools gave."""
    several = turns if len(turns) > 1 else ()
    tool_tokens = [
        max(0, turn.prompt_tokens - before.prompt_tokens - before.completion_tokens)
        for before, turn in itertools.pairwise(turns)
    ]
    num_input = sum(turn.prompt_tokens for turn in turns)
    num_output = sum(turn.completion_tokens for turn in turns)
    return {
        "input_tokens": num_input,
        "input_tokens_details": {
            "cached_tokens": sum(turn.cached_tokens for turn in turns),
            "cache_write_tokens": 0,
            "input_tokens_per_turn": [turn.prompt_tokens for turn in several],
            "cached_tokens_per_turn": [turn.cached_tokens for turn in several],
        },
        "output_tokens": num_output,
        "output_tokens_details": {
            "reasoning_tokens": sum(turn.reasoning_tokens for turn in turns),
            "tool_output_tokens": sum(tool_tokens),
            "output_tokens_per_turn": [turn.completion_tokens for turn in several],
            "tool_output_tokens_per_turn": tool_tokens,
        },
        "total_tokens": num_input + num_output,
    }


def _reference(conversation_id: str | None) -> dict[str, str] | None:
    return None if conversation_id is None else {"id": conversation_id}


def _reasoning(request: ResponsesRequest) -> dict[str, Any]:
    given = request.reasoning
    effort, summary = (None, None) if given is None else (given.effort, given.wanted_summary)
    return {"effort": effort, "summary": summary}


def _text(request: ResponsesRequest) -> dict[str, Any]:
    given = request.text
    form = None if given is None else given.format
    shown: dict[str, Any] = {"format": {"type": "text"}}
    if form is not None:
        shown["format"] = form.model_dump(by_alias=True, exclude_none=True)
    if given is not None and given.verbosity is not None:
        shown["verbosity"] = given.verbosity
    return shown


def _tool_choice(request: ResponsesRequest) -> Any:
    choice = request.tool_choice or "auto"
    return choice if isinstance(choice, str) else choice.model_dump()


def _tool(tool: ResponseTool) -> dict[str, Any]:
    """A tool as clients see it; secrets of a server they do not, nor what its query may have."""
    if isinstance(tool, McpTool):
        shown = tool.model_dump(exclude={"authorization", "headers"})
        url = tool.server_url.partition("?")[0]
        approval = shown["require_approval"] or "always"
        return shown | {"server_url": url, "headers": None, "require_approval": approval}
    return tool.model_dump(exclude_none=isinstance(tool, ResponseCustomTool))
