"""A completion on the wire, whole or as events; both are made of the same chunks."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import orjson

from api.context import ServerContext
from api.protocol.completions import CompletionRequest
from api.services.completions.echo import Echo, make_echo
from api.services.generation import logprobs as wire
from api.services.generation.collect import Choice, collect
from api.services.generation.events import ChunkWriter
from api.services.generation.output import OutputChunk
from api.services.generation.run import Generation
from api.services.generation.usage import Usage, metrics_of, usage_of
from api.services.prompts.rendering import RenderedPrompt
from api.services.requests import Identity


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CompletionJob:
    """A request that was accepted: one generation and one rendered prompt per prompt."""

    context: ServerContext
    request: CompletionRequest
    identity: Identity
    prompts: list[RenderedPrompt]
    generations: list[Generation]

    @property
    def names_tokens_by_id(self) -> bool:
        """`return_tokens_as_token_ids`, of the request or of the server."""
        flag = self.request.return_tokens_as_token_ids
        return self.context.settings.return_tokens_as_token_ids if flag is None else flag

    def echo(self, prompt_index: int) -> Echo | None:
        """What precedes each choice of a prompt; None without `echo`."""
        if not self.request.echo:
            return None
        prompt = self.prompts[prompt_index]
        return make_echo(self.context.tokenizer, prompt.token_ids, prompt.text)


async def whole_answer(job: CompletionJob) -> bytes:
    """The answer when `stream` is false, encoded."""
    found = await collect(job.generations, job.request.num_choices)
    choices: list[orjson.Fragment] = []
    for prompt_index, of_prompt in enumerate(found):
        echo = job.echo(prompt_index)
        for choice in of_prompt:
            made = _choice(job, prompt_index, len(choices), choice, echo)
            choices.append(orjson.Fragment(orjson.dumps(made)))
            await asyncio.sleep(0)  # the scores of a long prompt must not hold up other requests
    usage, metrics = usage_of(job.generations), metrics_of(job.generations)
    return encode_answer(job.identity, choices, usage, metrics)


def encode_answer(
    identity: Identity,
    choices: Sequence[Any],
    usage: Usage,
    metrics: dict[str, Any] | None = None,
) -> bytes:
    """The whole answer as JSON."""
    answer: dict[str, Any] = {
        "id": identity.response_id,
        "object": "text_completion",
        "created": identity.created,
        "model": identity.model,
        "choices": choices,
        "service_tier": "default",
        "system_fingerprint": identity.fingerprint,
        "usage": usage.as_dict(),
        "kv_transfer_params": None,
        "ec_transfer_params": None,
        "metrics": metrics,
    }
    return orjson.dumps(answer)


def _choice(
    job: CompletionJob, prompt_index: int, index: int, choice: Choice, echo: Echo | None
) -> dict[str, Any]:
    generation = job.generations[prompt_index]
    prompt_ids = job.prompts[prompt_index].shown_token_ids
    logprobs = _logprobs(job, prompt_index, choice, echo, 0)
    members = choice_members(job.request, index, choice, logprobs, echo.text if echo else "")
    scores = wire.prompt_logprobs(job.context.tokenizer, generation.prompt_logprobs)
    members["prompt_logprobs"] = scores
    members["prompt_token_ids"] = prompt_ids if job.request.return_token_ids else None
    return members


def choice_members(
    request: CompletionRequest,
    index: int,
    choice: Choice,
    logprobs: dict[str, Any] | None,
    echoed: str = "",
) -> dict[str, Any]:
    """One choice on the wire, but for what is told of its prompt."""
    return {
        "index": index,
        "text": echoed + choice.text,
        "logprobs": logprobs,
        "finish_reason": choice.finish_reason,
        "stop_reason": choice.stop_reason,
        "token_ids": choice.token_ids if request.return_token_ids else None,
        "routed_experts": None,
    }


def _logprobs(
    job: CompletionJob,
    prompt_index: int,
    piece: Choice | OutputChunk,
    echo: Echo | None,
    num_characters_before: int,
) -> dict[str, Any] | None:
    """OpenAI's four lists; with `echo`, the prompt's tokens first.

    Arguments:
        num_characters_before: length of the prompt's text where it was echoed in an earlier chunk.
    """
    if job.request.logprobs is None:
        return None
    prompt_ids: Sequence[int] = job.prompts[prompt_index].token_ids if echo else ()
    unscored = [None] * len(prompt_ids)  # an operator's abort came before the prompt was computed
    scores = list(job.generations[prompt_index].prompt_logprobs or unscored) if echo else []
    start = len(echo.text) if echo else num_characters_before
    return wire.completion_logprobs(
        job.context.tokenizer,
        [*scores, *piece.logprobs],
        [*prompt_ids, *piece.token_ids],
        [*(echo.text_offsets if echo else ()), *(start + o for o in piece.text_offsets)],
        job.names_tokens_by_id,
    )


class CompletionEvents:
    """Choices interleaved as their text comes; a prompt's echo in each choice's first chunk."""

    def __init__(self, job: CompletionJob) -> None:
        self._job = job
        self._writer = ChunkWriter(
            job.identity, "text_completion", job.request.stream_options, job.context.settings
        )
        self._echoes: dict[int, Echo | None] = {}
        self._opened: set[tuple[int, int]] = set()

    async def events(
        self, stream: AsyncGenerator[list[tuple[int, OutputChunk]], None]
    ) -> AsyncGenerator[bytes, None]:
        """The events of the whole answer but for `[DONE]`; closing it closes `stream`."""
        async with contextlib.aclosing(stream):
            async for ready in stream:
                pieces: list[bytes] = []
                for index, chunk in ready:
                    pieces.append(self._chunk(index, chunk))
                    if self._job.request.echo:
                        await asyncio.sleep(0)  # as in `whole_answer`
                yield b"".join(pieces)
        usage = self._writer.usage(
            usage_of(self._job.generations), metrics_of(self._job.generations)
        )
        if usage:
            yield usage

    def _echo(self, prompt_index: int) -> Echo | None:
        if prompt_index not in self._echoes:
            self._echoes[prompt_index] = self._job.echo(prompt_index)
        return self._echoes[prompt_index]

    def _chunk(self, prompt_index: int, chunk: OutputChunk) -> bytes:
        job, request, echo = self._job, self._job.request, self._echo(prompt_index)
        key = (prompt_index, chunk.sequence_index)
        is_first = key not in self._opened
        self._opened.add(key)
        text = (echo.text if echo and is_first else "") + chunk.text
        num_before = len(echo.text) if echo else 0
        prompt_ids = job.prompts[prompt_index].shown_token_ids if is_first else None
        choice = {
            "index": prompt_index * request.num_choices + chunk.sequence_index,
            "text": text,
            "logprobs": _logprobs(job, prompt_index, chunk, echo if is_first else None, num_before),
            "finish_reason": chunk.finish_reason,
            "stop_reason": chunk.stop_reason,
            "prompt_token_ids": prompt_ids if request.return_token_ids else None,
            "token_ids": chunk.token_ids if request.return_token_ids else None,
        }
        usage = usage_of(job.generations) if self._writer.is_usage_continuous else None
        return self._writer.choice(orjson.dumps(choice), usage, text=text)
