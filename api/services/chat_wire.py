"""A chat answer on the wire, whole or as events; both are made of the same chunks."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import AsyncGenerator
from typing import Any

import orjson

from api.context import ServerContext
from api.protocol.chat import ChatCompletionRequest
from api.services import logprobs as wire
from api.services.collect import Choice, collect
from api.services.events import ChunkWriter
from api.services.generation import Generation, usage_of
from api.services.output import OutputChunk
from api.services.rendering import RenderedPrompt
from api.services.requests import Identity

# What nearly every chunk of a stream is: some text and nothing else.
_PLAIN_CHOICE = (
    b'{"index":%d,"delta":{"content":%b},"logprobs":null,"finish_reason":null,"token_ids":null}'
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ChatJob:
    """A request that was accepted.

    Attributes:
        role: whose message the answer is.
        echoed: text that `echo` puts before each answer.
        num_top: alternatives shown per token; None without `logprobs`.
    """

    context: ServerContext
    request: ChatCompletionRequest
    identity: Identity
    prompt: RenderedPrompt
    generation: Generation
    role: str
    echoed: str
    num_top: int | None

    @property
    def is_plain(self) -> bool:
        """Chunks carry text alone."""
        request, options = self.request, self.request.stream_options
        has_usage = options is not None and bool(options.continuous_usage_stats)
        return self.num_top is None and not request.return_token_ids and not has_usage

    @property
    def names_tokens_by_id(self) -> bool:
        """`return_tokens_as_token_ids`, of the request or of the server."""
        flag = self.request.return_tokens_as_token_ids
        return self.context.settings.return_tokens_as_token_ids if flag is None else flag


async def whole_answer(job: ChatJob) -> bytes:
    """The answer when `stream` is false, encoded."""
    choices = (await collect([job.generation], job.request.num_choices))[0]
    tokenizer = job.context.tokenizer
    answer: dict[str, Any] = {
        "id": job.identity.response_id,
        "object": "chat.completion",
        "created": job.identity.created,
        "model": job.identity.model,
        "choices": [_choice(job, index, choice) for index, choice in enumerate(choices)],
        "service_tier": "default",
        "system_fingerprint": job.identity.fingerprint,
        "usage": usage_of([job.generation]).as_dict(),
        "prompt_logprobs": wire.prompt_logprobs(tokenizer, job.generation.prompt_logprobs),
        "prompt_token_ids": _if(job.request.return_token_ids, job.prompt.token_ids),
        "prompt_text": _if(job.request.return_prompt_text, job.prompt.text),
        "kv_transfer_params": None,
        "ec_transfer_params": None,
        "metrics": None,
    }
    if job.request.metadata is not None:
        answer["metadata"] = job.request.metadata
    return orjson.dumps(answer)


def _choice(job: ChatJob, index: int, choice: Choice) -> dict[str, Any]:
    message = {
        "role": job.role,
        "content": job.echoed + choice.text,
        "refusal": None,
        "annotations": None,
        "audio": None,
        "function_call": None,
        "reasoning": None,
    }
    return {
        "index": index,
        "message": message,
        "logprobs": _logprobs(job, choice),
        "finish_reason": choice.finish_reason,
        "stop_reason": choice.stop_reason,
        "token_ids": _if(job.request.return_token_ids, choice.token_ids),
        "routed_experts": None,
    }


def _logprobs(job: ChatJob, piece: Choice | OutputChunk) -> dict[str, Any] | None:
    if job.num_top is None:
        return None
    return wire.chat_logprobs(
        job.context.tokenizer, piece.logprobs, job.num_top, job.names_tokens_by_id
    )


def _if(flag: bool | None, value: Any) -> Any:
    return value if flag else None


async def chat_events(
    job: ChatJob, stream: AsyncGenerator[list[tuple[int, OutputChunk]], None]
) -> AsyncGenerator[bytes, None]:
    """First a role chunk per choice, then text, each choice ended by its `finish_reason`."""
    writer = ChunkWriter(
        job.identity, "chat.completion.chunk", job.request.stream_options, job.context.settings
    )
    opening = b"".join(_opening(job, writer, i) for i in range(job.request.num_choices))
    async with contextlib.aclosing(stream):
        async for ready in stream:
            yield opening + b"".join(_chunk(job, writer, chunk) for _, chunk in ready)
            opening = b""
    usage = writer.usage(usage_of([job.generation]))
    if usage:
        yield usage


def _opening(job: ChatJob, writer: ChunkWriter, index: int) -> bytes:
    delta = {"role": job.role, "content": ""}
    choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": None}
    extra = {
        "prompt_token_ids": _if(job.request.return_token_ids, job.prompt.token_ids),
        "prompt_text": _if(job.request.return_prompt_text, job.prompt.text),
    }
    usage = usage_of([job.generation])
    usage.completion_tokens = 0
    opening = writer.choice(orjson.dumps(choice), usage, b"," + orjson.dumps(extra)[1:-1])
    if not job.echoed:
        return opening
    echo = {**choice, "delta": {"content": job.echoed}}
    return opening + writer.choice(orjson.dumps(echo), usage, text=job.echoed)


def _chunk(job: ChatJob, writer: ChunkWriter, chunk: OutputChunk) -> bytes:
    text = orjson.dumps(chunk.text)
    if chunk.finish_reason is None and job.is_plain:
        return writer.choice(_PLAIN_CHOICE % (chunk.sequence_index, text), None, text=chunk.text)
    delta = b'{"content":' + text + b"}" if chunk.text else b"{}"
    rest: dict[str, Any] = {"logprobs": _logprobs(job, chunk), "finish_reason": chunk.finish_reason}
    if chunk.finish_reason is not None:
        rest["stop_reason"] = chunk.stop_reason
    rest["token_ids"] = _if(job.request.return_token_ids, chunk.token_ids)
    choice = b'{"index":%d,"delta":%b,' % (chunk.sequence_index, delta) + orjson.dumps(rest)[1:]
    usage = usage_of([job.generation]) if writer.is_usage_continuous else None
    return writer.choice(choice, usage, text=chunk.text)
