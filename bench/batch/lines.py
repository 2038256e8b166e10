"""Lines of a batch: short conversations, no two alike, each answered with as many tokens."""

from __future__ import annotations

import json
import random
from typing import Any

from bench.serve.workload import WORDS

CHAT = "/v1/chat/completions"


def conversations(num_lines: int, num_words: int, seed: int) -> list[list[dict[str, str]]]:
    """Messages of each line."""
    generator = random.Random(seed)
    return [
        [{"role": "user", "content": " ".join(generator.choices(WORDS, k=num_words)) + f" {index}"}]
        for index in range(num_lines)
    ]


def jsonl(chats: list[list[dict[str, str]]], model: str, max_tokens: int) -> bytes:
    """The input file of a batch."""
    common: dict[str, Any] = {
        "model": model,
        "max_tokens": max_tokens,
        "temperature": 0,
        "ignore_eos": True,
    }
    lines = [
        {
            "custom_id": f"line-{index}",
            "method": "POST",
            "url": CHAT,
            "body": common | {"messages": messages},
        }
        for index, messages in enumerate(chats)
    ]
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)
