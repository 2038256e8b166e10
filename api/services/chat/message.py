"""A choice's message on the wire: whole, and as the deltas of a stream."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from api.services.generation.reading import CallDelta, MessageDelta


def whole_message(
    role: str, deltas: Sequence[MessageDelta], *, echoed: str, is_legacy: bool
) -> dict[str, Any]:
    """The message that all deltas of a choice make.

    Content is null where there is none beside calls or thoughts.
    """
    content = echoed + "".join(delta.content for delta in deltas)
    reasoning = "".join(delta.reasoning for delta in deltas)
    calls = _joined([call for delta in deltas for call in delta.calls])
    message: dict[str, Any] = {
        "role": role,
        "content": content or (None if calls or reasoning else ""),
        "refusal": None,
        "annotations": None,
        "audio": None,
        "function_call": _function(calls[0]) if calls and is_legacy else None,
    }
    if calls and not is_legacy:
        message["tool_calls"] = [_whole_call(call) for call in calls]
    return message | {"reasoning": None} | _reasoning(reasoning)


def stream_delta(delta: MessageDelta, *, is_legacy: bool) -> dict[str, Any]:
    """One delta of a stream."""
    if delta.reasoning:
        return _reasoning(delta.reasoning)
    if not delta.calls:
        return {"content": delta.content}
    if is_legacy:
        return {"content": None, "function_call": _body_piece(delta.calls[0])}
    return {"content": None, "tool_calls": [_call_piece(call) for call in delta.calls]}


def _reasoning(text: str) -> dict[str, str]:
    """vLLM's field under both of its names."""
    return {"reasoning": text, "reasoning_content": text} if text else {}


def _joined(pieces: Sequence[CallDelta]) -> list[CallDelta]:
    calls: dict[int, CallDelta] = {}
    for piece in pieces:
        if piece.index not in calls:
            calls[piece.index] = dataclasses.replace(piece)
        else:
            calls[piece.index].arguments += piece.arguments
    return [calls[index] for index in sorted(calls)]


def _whole_call(call: CallDelta) -> dict[str, Any]:
    if call.is_custom:
        body = {"name": call.name, "input": call.arguments}
        return {"id": call.id, "type": "custom", "custom": body}
    return {"id": call.id, "type": "function", "function": _function(call)}


def _function(call: CallDelta) -> dict[str, Any]:
    return {"name": call.name, "arguments": call.arguments}


def _call_piece(call: CallDelta) -> dict[str, Any]:
    """Id, type and name come with the first piece of a call alone."""
    kind = "custom" if call.is_custom else "function"
    if call.name is None:
        return {"index": call.index, kind: _body_piece(call)}
    return {"index": call.index, "id": call.id, "type": kind, kind: _body_piece(call)}


def _body_piece(call: CallDelta) -> dict[str, Any]:
    name = {} if call.name is None else {"name": call.name}
    return {**name, "input" if call.is_custom else "arguments": call.arguments}
