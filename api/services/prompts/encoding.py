"""From text to token ids, and how many of them are kept. Long texts go to a worker thread."""

from __future__ import annotations

import asyncio

from api.context import ServerContext
from api.protocol.base import GenerationFields
from engine.errors import ContextLengthError, InvalidParameterError
from engine.request import ModelInfo
from engine.text.tokenizer import Tokenizer

LONG_TEXT_CHARACTERS = 8192
# Normalisation may join characters before they are cut into pieces.
_NORMALISATION_SLACK = 4


async def encode_text(
    context: ServerContext,
    text: str,
    *,
    param: str,
    add_special_tokens: bool,
    is_bounded: bool = True,
) -> list[int]:
    """Ids of a text; a long one is encoded in a worker thread."""

    def work() -> list[int]:
        return encode_prompt(
            context.tokenizer,
            text,
            context.engine.info,
            param=param,
            add_special_tokens=add_special_tokens,
            is_bounded=is_bounded,
        )

    return work() if len(text) <= LONG_TEXT_CHARACTERS else await asyncio.to_thread(work)


def encode_prompt(
    tokenizer: Tokenizer,
    text: str,
    info: ModelInfo,
    *,
    param: str,
    add_special_tokens: bool,
    is_bounded: bool,
) -> list[int]:
    """Ids of a text.

    Arguments:
        is_bounded: refuse a text that cannot fit the context before encoding all of it.
    """
    longest = info.max_model_len * tokenizer.max_piece_characters * _NORMALISATION_SLACK
    if is_bounded and len(text) > longest:
        raise ContextLengthError(
            f"This model's maximum context length is {info.max_model_len} tokens. However, the "
            f"text of your {param} is {len(text)} characters long, which cannot fit. "
            f"Please reduce the length of the {param}.",
            param=param,
        )
    try:
        text.encode()
    except UnicodeEncodeError:
        message = f"Invalid '{param}': the text holds a lone surrogate."
        raise InvalidParameterError(message, param=param) from None
    return tokenizer.encode(text, add_special_tokens=add_special_tokens)


def truncate(
    token_ids: tuple[int, ...], request: GenerationFields, info: ModelInfo, max_tokens: int | None
) -> tuple[int, ...]:
    """Apply `truncate_prompt_tokens`: keep the last tokens, or the first with side `right`.

    -1 keeps what fits beside `max_tokens`.
    """
    limit = request.truncate_prompt_tokens
    if limit is None:
        return token_ids
    if limit > info.max_model_len:
        raise InvalidParameterError(
            "Invalid 'truncate_prompt_tokens': integer above maximum value. "
            f"Expected a value <= {info.max_model_len}, but got {limit} instead.",
            param="truncate_prompt_tokens",
            code="integer_above_max_value",
        )
    if limit == 0:
        message = "Invalid 'truncate_prompt_tokens': 0 leaves nothing of the prompt."
        raise InvalidParameterError(message, param="truncate_prompt_tokens")
    if limit == -1:
        limit = max(1, info.max_model_len - max(1, max_tokens or 1))
    if request.truncation_side == "right":
        return token_ids[:limit]
    return token_ids[max(0, len(token_ids) - limit) :]
