"""Whole choices out of chunks, for answers that are not streamed."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence

from api.errors import ended_by_operator
from api.services.generation.merging import merge
from api.services.generation.output import OutputChunk
from api.services.generation.run import Generation
from engine.request import FinishReason, TokenLogprobs


@dataclasses.dataclass(slots=True)
class Choice:
    """One finished sequence; see `OutputChunk` for the fields."""

    text: str = ""
    token_ids: list[int] = dataclasses.field(default_factory=list[int])
    logprobs: list[TokenLogprobs] = dataclasses.field(default_factory=list[TokenLogprobs])
    text_offsets: list[int] = dataclasses.field(default_factory=list[int])
    finish_reason: str | None = None
    stop_reason: str | int | None = None

    def add(self, chunk: OutputChunk) -> None:
        """Append a chunk."""
        self.text += chunk.text
        self.token_ids += chunk.token_ids
        self.logprobs += chunk.logprobs
        self.text_offsets += chunk.text_offsets
        if chunk.finish_reason is not None:
            self.finish_reason = chunk.finish_reason
            self.stop_reason = chunk.stop_reason


async def collect(generations: Sequence[Generation], num_choices: int) -> list[list[Choice]]:
    """Run all to the end; for each generation its best `num_choices` choices.

    Raises:
        APIError, EngineError: one of them failed; the others are aborted.
    """
    choices = [
        [Choice() for _ in range(generation.request.num_sequences)] for generation in generations
    ]
    async with contextlib.aclosing(merge(generations)) as stream:
        async for ready in stream:
            for index, chunk in ready:
                choices[index][chunk.sequence_index].add(chunk)
    return [_best(of_prompt, num_choices) for of_prompt in choices]


async def collect_unbroken(generations: Sequence[Generation]) -> list[Choice]:
    """The one choice of each, for answers to which half of it is no use.

    Raises:
        APIError, EngineError: one of them failed, or an operator ended it; the others are aborted.
    """
    found = [choices[0] for choices in await collect(generations, 1)]
    if any(choice.finish_reason == FinishReason.ABORT for choice in found):
        raise ended_by_operator()
    return found


def _best(choices: list[Choice], count: int) -> list[Choice]:
    """The `count` with the highest mean log-probability; all of them, in order, if so many."""
    if len(choices) <= count:
        return choices
    return sorted(choices, key=_mean_logprob, reverse=True)[:count]


def _mean_logprob(choice: Choice) -> float:
    if not choice.logprobs:
        return float("-inf")
    return sum(entry.logprob for entry in choice.logprobs) / len(choice.logprobs)
