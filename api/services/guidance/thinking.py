"""Where a model's thinking stands in token ids, and how much of it a request allows."""

from __future__ import annotations

from collections.abc import Sequence

from api.context import ServerContext
from api.model.formats import ModelFormats
from engine.errors import InvalidParameterError
from engine.request import ReasoningSpan
from engine.text.tokenizer import Tokenizer


def thinking_budget(formats: ModelFormats, budget: int | None) -> int | None:
    """`thinking_token_budget` as it was given; None is unlimited.

    Raises:
        InvalidParameterError: the model is not known to think.
    """
    if budget is None or budget < 0:
        return None
    if formats.reasoning is None or formats.reasoning.script is not None:
        raise InvalidParameterError(
            "Unsupported parameter: 'thinking_token_budget' needs a model whose thoughts stand "
            "between two marks; see --reasoning-parser.",
            param="thinking_token_budget",
            code="unsupported_parameter",
        )
    return budget


def reasoning_span(
    context: ServerContext, formats: ModelFormats, *, is_open: bool
) -> ReasoningSpan | None:
    """Where thoughts begin and end, for the engine."""
    reasoning = formats.reasoning
    if reasoning is None:
        return None
    return ReasoningSpan(
        start=mark_ids(context, reasoning.start),
        end=mark_ids(context, reasoning.end),
        is_open=is_open,
    )


def span_after(context: ServerContext, prompt_token_ids: Sequence[int]) -> ReasoningSpan | None:
    """The span of a prompt that no chat template made: open if its last mark opens thoughts.

    Models open them at the beginning of a line or of a message; a mark within a line is spoken of.
    """
    span = reasoning_span(context, context.formats, is_open=False)
    if span is None:
        return None
    start = _last_place(prompt_token_ids, span.start)
    is_open = start > _last_place(prompt_token_ids, span.end)
    is_open = is_open and _begins_line(context.tokenizer, prompt_token_ids[:start])
    return ReasoningSpan(start=span.start, end=span.end, is_open=is_open)


def thought_ends(context: ServerContext, formats: ModelFormats) -> tuple[tuple[int, ...], ...]:
    """The ids of each mark that ends open thoughts: what is held to a grammar begins there."""
    reasoning = formats.reasoning
    if reasoning is None:
        return ()
    return tuple(mark_ids(context, end) for end in (reasoning.end, *reasoning.ends_before))


def mark_ids(context: ServerContext, mark: str) -> tuple[int, ...]:
    """The ids of a mark, which the newlines beside it are no part of."""
    return tuple(context.tokenizer.encode(mark.strip(), add_special_tokens=False))


def _begins_line(tokenizer: Tokenizer, before: Sequence[int]) -> bool:
    """Whether what comes after these ids begins a line, a message or the text."""
    if not before or before[-1] in tokenizer.special_ids:
        return True
    return tokenizer.token_text(before[-1]).endswith("\n")


def _last_place(token_ids: Sequence[int], mark: tuple[int, ...]) -> int:
    """Where `mark` stands last in `token_ids`; -1 where it does not."""
    if not mark:
        return -1
    ids = tuple(token_ids)
    for start in range(len(ids) - len(mark), -1, -1):
        if ids[start] == mark[0] and ids[start : start + len(mark)] == mark:
            return start
    return -1
