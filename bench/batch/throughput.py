"""A batch beside the engine alone: the same lines on the same machine, in turn.

The engine alone answers one half of the lines before the batch and the other half after it, so that
a machine that grows busy or quiet meanwhile favours neither.
"""

from __future__ import annotations

import os
import statistics
import time
from typing import Any

from bench.batch.lines import conversations, jsonl
from bench.batch.server import Server
from bench.supervise import Case, Child

MODULE = "bench.batch.offline_worker"
TIMEOUT_S = 1800.0
THOUGHT = "<think>"
"""The server takes thoughts out of a text: such answers are not compared."""
WARM_UP_LINES = 100
WARM_UP_SEED = 7


def measure(server: Server, num_lines: int, num_words: int, max_tokens: int) -> dict[str, Any]:
    """Lines a second of both, and whether they said the same."""
    chats = conversations(num_lines, num_words, seed=1)
    half = num_lines // 2
    child = Child(MODULE)
    try:
        _run_offline(child, conversations(WARM_UP_LINES, num_words, WARM_UP_SEED), max_tokens)
        _run_batch(server, conversations(WARM_UP_LINES, num_words, WARM_UP_SEED), max_tokens)
        loads = [os.getloadavg()[0]]
        before = _run_offline(child, chats[:half], max_tokens)
        loads.append(os.getloadavg()[0])
        batch = _run_batch(server, chats, max_tokens)
        loads.append(os.getloadavg()[0])
        after = _run_offline(child, chats[half:], max_tokens)
    finally:
        child.close()
    texts = before["texts"] + after["texts"]
    offline_s = before["seconds"] + after["seconds"]
    return {
        "num_lines": num_lines,
        "max_tokens": max_tokens,
        "offline_lines_per_s": round(num_lines / offline_s, 2),
        "offline_halves_lines_per_s": [
            round(half / before["seconds"], 2),
            round((num_lines - half) / after["seconds"], 2),
        ],
        "batch_lines_per_s": round(num_lines / batch["seconds"], 2),
        "batch_validated_after_s": batch["validated_after_s"],
        "share_of_offline": round(offline_s / batch["seconds"], 4),
        "num_different_texts": sum(
            batch["texts"][f"line-{index}"] != text
            for index, text in enumerate(texts)
            if THOUGHT not in text
        ),
        "load_average": round(statistics.mean(loads), 2),
    }


def _run_offline(child: Child, chats: list[Any], max_tokens: int) -> dict[str, Any]:
    case = Case("offline", MODULE, {"chats": chats, "max_tokens": max_tokens})
    record = child.run(case, TIMEOUT_S)
    if record["status"] != "measured":
        raise RuntimeError(f"the engine alone failed: {record['reason']}")
    return record


def _run_batch(server: Server, chats: list[Any], max_tokens: int) -> dict[str, Any]:
    """From the request for the batch to its end, files written: what its owner waits for."""
    file_id = server.upload(jsonl(chats, server.model, max_tokens))
    started_s = time.perf_counter()
    batch = server.wait_ended(server.create_batch(file_id))
    seconds = time.perf_counter() - started_s
    assert batch["request_counts"] == {"total": len(chats), "completed": len(chats), "failed": 0}
    return {
        "seconds": seconds,
        "validated_after_s": batch["in_progress_at"] - batch["created_at"],
        "texts": server.results(batch),
    }
