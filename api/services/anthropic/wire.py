"""A chat answer in Anthropic's words: blocks of thoughts, text and calls, whole or as events.

One `BlockWriter` makes both: a whole answer is what its events add up to.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import AsyncGenerator, Iterator, Sequence
from typing import Any

import orjson

from api.services.chat.job import ChatJob
from api.services.generation.collect import collect
from api.services.generation.output import OutputChunk
from api.services.generation.reading import ChoiceReader, MessageDelta
from api.services.generation.usage import usage_of

Event = dict[str, Any]

STOP_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "repetition": "end_turn",
    "tool_calls": "tool_use",
    "abort": "pause_turn",
}
"""An answer that the operator ended is one that may be gone on with."""
_DELTAS = {
    "thinking": ("thinking_delta", "thinking"),
    "text": ("text_delta", "text"),
    "tool_use": ("input_json_delta", "partial_json"),
}


@dataclasses.dataclass(slots=True)
class _Piece:
    """More of one block.

    Attributes:
        key: pieces with equal keys belong to one block.
        opening: the block as it begins.
    """

    key: tuple[str, int]
    opening: dict[str, Any]
    text: str

    @property
    def kind(self) -> str:
        """The block's type."""
        return self.key[0]


class BlockWriter:
    """Turns a choice's deltas into events of content blocks."""

    def __init__(self) -> None:
        self._index = -1
        self._key: tuple[str, int] | None = None

    def take(self, deltas: Sequence[MessageDelta]) -> Iterator[Event]:
        """Events of what was gained."""
        for delta in deltas:
            for piece in _pieces(delta):
                if piece.key != self._key:
                    yield from self.close()
                    yield self._open(piece)
                if piece.text:
                    yield self._more(piece)

    def close(self) -> Iterator[Event]:
        """End the open block, if there is one."""
        if self._key is not None:
            yield {"type": "content_block_stop", "index": self._index}
            self._key = None

    def _open(self, piece: _Piece) -> Event:
        self._key = piece.key
        self._index += 1
        return {
            "type": "content_block_start",
            "index": self._index,
            "content_block": piece.opening,
        }

    def _more(self, piece: _Piece) -> Event:
        kind, field = _DELTAS[piece.kind]
        delta = {"type": kind, field: piece.text}
        return {"type": "content_block_delta", "index": self._index, "delta": delta}


def _pieces(delta: MessageDelta) -> Iterator[_Piece]:
    if delta.reasoning:
        opening = {"type": "thinking", "thinking": "", "signature": ""}
        yield _Piece(("thinking", 0), opening, delta.reasoning)
    if delta.content:
        yield _Piece(("text", 0), {"type": "text", "text": ""}, delta.content)
    for call in delta.calls:
        opening = {"type": "tool_use", "id": call.id, "name": call.name, "input": {}}
        yield _Piece(("tool_use", call.index), opening, call.arguments)


async def whole_message(job: ChatJob) -> bytes:
    """The answer when `stream` is false, encoded."""
    choice = (await collect([job.generation], 1))[0][0]
    reader, writer = ChoiceReader(job.reading), BlockWriter()
    events = [*writer.take(reader.read(choice.text, is_last=True)), *writer.close()]
    answer = _message(job) | {
        "content": _blocks(events),
        **_ending(job, choice.finish_reason, choice.stop_reason, reader.num_calls),
        "usage": _usage(job),
    }
    return orjson.dumps(answer)


def _blocks(events: Sequence[Event]) -> list[dict[str, Any]]:
    """The blocks that events add up to."""
    blocks: list[dict[str, Any]] = []
    texts: list[str] = []
    for event in events:
        if event["type"] == "content_block_start":
            blocks.append(event["content_block"])
            texts.append("")
        elif event["type"] == "content_block_delta":
            delta = event["delta"]
            texts[-1] += delta[_DELTAS[blocks[-1]["type"]][1]]
    return [_filled(block, text) for block, text in zip(blocks, texts, strict=True)]


def _filled(block: dict[str, Any], text: str) -> dict[str, Any]:
    if block["type"] == "tool_use":
        return block | {"input": _arguments(text)}
    return block | {_DELTAS[block["type"]][1]: text}


def _arguments(text: str) -> dict[str, Any]:
    """A call's input; what a truncated answer left unreadable is kept as text."""
    try:
        value = json.loads(text or "{}")
    except ValueError:
        return {"_unparsed": text}
    return value if isinstance(value, dict) else {"_unparsed": text}


def _message(job: ChatJob) -> dict[str, Any]:
    return {
        "id": job.identity.response_id,
        "type": "message",
        "role": "assistant",
        "content": [],
        "model": job.identity.model,
        "stop_reason": None,
        "stop_sequence": None,
    }


def _ending(
    job: ChatJob, reason: str | None, cause: str | int | None, num_calls: int
) -> dict[str, Any]:
    if reason == "stop" and isinstance(cause, str):
        return {"stop_reason": "stop_sequence", "stop_sequence": cause}
    told = "tool_calls" if reason == "stop" and num_calls else reason
    return {"stop_reason": STOP_REASONS[told or "stop"], "stop_sequence": None}


def _usage(job: ChatJob) -> dict[str, int]:
    usage = usage_of([job.generation])
    return {
        "input_tokens": usage.prompt_tokens - usage.cached_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": usage.cached_tokens,
        "output_tokens": usage.completion_tokens,
    }


async def message_events(
    job: ChatJob, stream: AsyncGenerator[list[tuple[int, OutputChunk]], None]
) -> AsyncGenerator[bytes, None]:
    """`message_start`, the blocks, `message_delta`, `message_stop`."""
    reader, writer = ChoiceReader(job.reading), BlockWriter()
    start = _message(job) | {"usage": _usage(job) | {"output_tokens": 0}}
    opening = encode({"type": "message_start", "message": start})
    async with contextlib.aclosing(stream):
        async for ready in stream:
            events: list[Event] = []
            for _, chunk in ready:
                is_last = chunk.finish_reason is not None
                events += writer.take(reader.read(chunk.text, is_last=is_last))
                if is_last:
                    events += [*writer.close(), *_closing(job, chunk, reader.num_calls)]
            if events or opening:
                yield opening + b"".join(map(encode, events))
            opening = b""


def _closing(job: ChatJob, chunk: OutputChunk, num_calls: int) -> Iterator[Event]:
    delta = _ending(job, chunk.finish_reason, chunk.stop_reason, num_calls)
    yield {"type": "message_delta", "delta": delta, "usage": _usage(job)}
    yield {"type": "message_stop"}


def encode(event: Event) -> bytes:
    """A server-sent event whose name is its type."""
    return b"event: " + event["type"].encode() + b"\ndata: " + orjson.dumps(event) + b"\n\n"
