"""Chat answers as plain records, asked for whole or streamed."""

from __future__ import annotations

import json
from typing import Any

import httpx


def whole(url: str, body: dict[str, Any]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    answer = httpx.post(f"{url}/v1/chat/completions", json=body, timeout=120).json()
    choices = [
        {
            "content": choice["message"]["content"] or "",
            "reasoning": choice["message"]["reasoning"] or "",
            "calls": [call["function"] for call in choice["message"].get("tool_calls", [])],
            "finish": choice["finish_reason"],
            "logprobs": (choice["logprobs"] or {}).get("content", []),
        }
        for choice in answer["choices"]
    ]
    return choices, answer["usage"]


def streamed(url: str, body: dict[str, Any]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    options = {"stream": True, "stream_options": {"include_usage": True}}
    text = httpx.post(f"{url}/v1/chat/completions", json=body | options, timeout=120).text
    events = text.removesuffix("\n\n").split("\n\n")
    assert events.pop() == "data: [DONE]"
    choices = [
        {"content": "", "reasoning": "", "calls": [], "finish": None, "logprobs": []}
        for _ in range(body["n"])
    ]
    usage: dict[str, Any] = {}
    for event in (json.loads(event.removeprefix("data: ")) for event in events):
        usage = event["usage"] or usage
        for piece in event["choices"]:
            add(choices[piece["index"]], piece)
    return choices, usage


def add(choice: dict[str, Any], piece: dict[str, Any]) -> None:
    delta = piece["delta"]
    choice["content"] += delta.get("content") or ""
    choice["reasoning"] += delta.get("reasoning") or ""
    choice["logprobs"] += (piece["logprobs"] or {}).get("content", [])
    choice["finish"] = piece["finish_reason"] or choice["finish"]
    for part in delta.get("tool_calls", []):
        if "id" in part:
            choice["calls"].append({"name": part["function"]["name"], "arguments": ""})
        choice["calls"][part["index"]]["arguments"] += part["function"]["arguments"]
