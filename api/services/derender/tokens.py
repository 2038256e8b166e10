"""A choice's token ids become what its client sees, by the code that serves generations."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from api.context import ServerContext
from api.protocol.derender import GivenChoice, GivenPiece, GivenUsage
from api.services.generation.collect import Choice
from api.services.generation.output import OutputChunk, OutputSettings, SequenceOutput
from api.services.generation.usage import Usage
from api.services.prompts.tokenize import verify_known_ids
from engine.errors import ContextLengthError, InvalidParameterError
from engine.request import FinishReason, TokenDelta, TokenLogprobs


@dataclasses.dataclass(frozen=True, slots=True)
class ReadChoice:
    """A whole choice, and how many of its tokens are thoughts."""

    choice: Choice
    num_reasoning_tokens: int


def read_choice(
    context: ServerContext, settings: OutputSettings, given: GivenChoice, place: str
) -> ReadChoice:
    """The choice as /v1/chat/completions or /v1/completions would see it.

    Raises:
        InvalidParameterError, ContextLengthError: `param` begins with `place`.
    """
    verify_output(context, given.token_ids, f"{place}.token_ids")
    output = SequenceOutput(given.index, context.tokenizer, knowing_stop(settings, given))
    choice = Choice()
    for chunk in push(output, given, entries_of(given, place)):
        choice.add(chunk)
    return ReadChoice(choice, output.num_reasoning_tokens)


def knowing_stop(settings: OutputSettings, given: GivenChoice | GivenPiece) -> OutputSettings:
    """`settings`, with the stop string that ended the choice where nobody named it."""
    stop = given.stop_reason
    if given.finish_reason != "stop" or not isinstance(stop, str) or stop in settings.stop:
        return settings
    return dataclasses.replace(settings, stop=(*settings.stop, stop) if stop else settings.stop)


def push(
    output: SequenceOutput,
    given: GivenChoice | GivenPiece,
    logprobs: Sequence[TokenLogprobs],
) -> list[OutputChunk]:
    """What a choice, or a piece of one, adds to `output`."""
    reason = None if given.finish_reason is None else FinishReason(given.finish_reason)
    is_stop_string = reason is FinishReason.STOP and isinstance(given.stop_reason, str)
    delta = TokenDelta(
        request_id="",
        token_ids=tuple(given.token_ids or ()),
        logprobs=tuple(logprobs) or None,
        # the tokens of a stop string are text: only an end token has none
        finish_reason=None if is_stop_string else reason,
        stop_token_id=given.stop_reason if isinstance(given.stop_reason, int) else None,
    )
    chunks = [output.push(delta)]
    if is_stop_string and not output.is_finished:
        chunks.append(output.push(TokenDelta(request_id="", finish_reason=reason)))
    return [chunk for chunk in chunks if chunk is not None]


def entries_of(given: GivenChoice | GivenPiece, place: str) -> list[TokenLogprobs]:
    """The engine's records of `logprobs`; none where there are none.

    Raises:
        InvalidParameterError: they are not one for each token.
    """
    content = None if given.logprobs is None else given.logprobs.content
    if content is None:
        return []
    ids = given.token_ids or []
    if [entry.token_id for entry in content] != ids:
        param = f"{place}.logprobs.content"
        message = f"Invalid '{param}': expected an entry for each of the token ids."
        raise InvalidParameterError(message, param=param)
    return [
        TokenLogprobs(
            entry.token_id,
            entry.logprob,
            entry.rank or 0,
            tuple(top.token_id for top in entry.top_logprobs),
            tuple(top.logprob for top in entry.top_logprobs),
        )
        for entry in content
    ]


def verify_output(context: ServerContext, token_ids: Sequence[int], param: str) -> None:
    """Raise for ids the model does not have, and for more than it could have generated."""
    verify_known_ids(context, token_ids, param)
    longest = context.engine.info.max_model_len
    if len(token_ids) > longest:
        raise ContextLengthError(
            f"This model's maximum context length is {longest} tokens, but '{param}' has "
            f"{len(token_ids)}.",
            param=param,
        )


def count_prompt(explicit: int | None, num_known: int, usage: GivenUsage | None) -> int:
    """The prompt's tokens: as told, as the ids say, or as the generating server counted."""
    if explicit is not None:
        return explicit
    return num_known or (0 if usage is None else usage.prompt_tokens)


def usage_of_piece(usage: GivenUsage, num_prompt_tokens: int, num_reasoning_tokens: int) -> Usage:
    """Of a stream so far."""
    num_generated = usage.completion_tokens or 0
    return Usage(num_prompt_tokens, num_generated, usage.num_cached_tokens, num_reasoning_tokens)
