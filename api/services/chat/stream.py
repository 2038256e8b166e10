"""A chat answer as events."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from typing import Any

import orjson

from api.services.chat.job import ChatJob, given_if
from api.services.chat.message import stream_delta
from api.services.generation.events import ChunkWriter
from api.services.generation.output import OutputChunk
from api.services.generation.reading import ChoiceReader, MessageDelta
from api.services.generation.usage import metrics_of, usage_of
from engine.request import TokenLogprobs

# What nearly every chunk of a stream is: some text and nothing else.
_PLAIN_CHOICE = (
    b'{"index":%d,"delta":{"content":%b},"logprobs":null,"finish_reason":null,"token_ids":null}'
)


async def chat_events(
    job: ChatJob, stream: AsyncGenerator[list[tuple[int, OutputChunk]], None]
) -> AsyncGenerator[bytes, None]:
    """First a role chunk per choice, then what it says, each choice ended by its
    `finish_reason`."""
    writer = ChunkWriter(
        job.identity, "chat.completion.chunk", job.request.stream_options, job.context.settings
    )
    choices = [_ChoiceStream(job, writer, index) for index in range(job.request.num_choices)]
    events = b"".join(choice.opening() for choice in choices)
    async with contextlib.aclosing(stream):
        async for ready in stream:
            events += b"".join(choices[chunk.sequence_index].take(chunk) for _, chunk in ready)
            if events:
                yield events
            events = b""
    usage = writer.usage(usage_of([job.generation]), metrics_of([job.generation]))
    if usage:
        yield usage


class _ChoiceStream:
    """The events of one choice.

    Tokens and logprobs go out with the first event after them: a parser may hold their text.
    """

    def __init__(self, job: ChatJob, writer: ChunkWriter, index: int) -> None:
        self._job = job
        self._writer = writer
        self._index = index
        self._reader = ChoiceReader(job.reading)
        self._token_ids: list[int] = []
        self._logprobs: list[TokenLogprobs] = []

    def opening(self) -> bytes:
        """Whose message it is, and what `echo` repeats."""
        job, request = self._job, self._job.request
        delta = {"role": job.role, "content": ""}
        choice = {"index": self._index, "delta": delta, "logprobs": None, "finish_reason": None}
        extra = {
            "prompt_token_ids": given_if(request.return_token_ids, job.prompt.token_ids),
            "prompt_text": given_if(request.return_prompt_text, job.prompt.text),
        }
        usage = usage_of([job.generation])
        usage.completion_tokens = usage.reasoning_tokens = 0
        writer = self._writer
        opening = writer.choice(orjson.dumps(choice), usage, b"," + orjson.dumps(extra)[1:-1])
        if not job.echoed:
            return opening
        echo = {**choice, "delta": {"content": job.echoed}}
        return opening + writer.choice(orjson.dumps(echo), usage, text=job.echoed)

    def take(self, chunk: OutputChunk) -> bytes:
        """The events that a chunk makes, none while all of it is held back."""
        is_last = chunk.finish_reason is not None
        self._token_ids += chunk.token_ids
        self._logprobs += chunk.logprobs
        deltas = self._reader.read(chunk.text, is_last=is_last)
        if not is_last:
            return b"".join(map(self._event, deltas))
        carrier = deltas.pop() if deltas and deltas[-1].content else None
        return b"".join(map(self._event, deltas)) + self._ending(carrier, chunk)

    def _event(self, delta: MessageDelta) -> bytes:
        if delta.content and self._job.is_plain:
            self._token_ids.clear()
            choice = _PLAIN_CHOICE % (self._index, orjson.dumps(delta.content))
            return self._writer.choice(choice, None, text=delta.content)
        return self._written(delta, {"finish_reason": None})

    def _ending(self, carrier: MessageDelta | None, chunk: OutputChunk) -> bytes:
        """The last event; it carries the last text, but calls and thoughts end before it."""
        reason = self._job.finish_reason(chunk.finish_reason, self._reader.num_calls)
        return self._written(carrier, {"finish_reason": reason, "stop_reason": chunk.stop_reason})

    def _written(self, delta: MessageDelta | None, ending: dict[str, Any]) -> bytes:
        job = self._job
        shown = {} if delta is None else stream_delta(delta, is_legacy=job.plan.is_legacy)
        choice = {
            "index": self._index,
            "delta": shown,
            "logprobs": job.logprobs(self._logprobs),
            **ending,
            "token_ids": given_if(job.request.return_token_ids, self._token_ids),
        }
        encoded = orjson.dumps(choice)
        self._token_ids.clear()
        self._logprobs.clear()
        usage = usage_of([job.generation]) if self._writer.is_usage_continuous else None
        return self._writer.choice(encoded, usage, text=_text_of(delta))


def _text_of(delta: MessageDelta | None) -> str:
    """What `obfuscation` is to hide the length of."""
    if delta is None:
        return ""
    return delta.content or delta.reasoning or "".join(call.arguments for call in delta.calls)
