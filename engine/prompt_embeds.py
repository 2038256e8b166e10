"""Embeddings in place of a prompt's tokens: their bytes, what they must be, what they are called.

Only numpy. A prompt with embeddings has `EMBEDDED_TOKEN` in place of their ids, which no vocabulary
has, so nothing can take them for tokens.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from engine.errors import InvalidParameterError
from engine.request import EMBEDDED_TOKEN, GenerateRequest, ModelInfo, PromptEmbeds

ITEM_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}
"""Dtypes that embeddings may have; all little-endian."""


def embedded_prompt(embeds: PromptEmbeds) -> tuple[int, ...]:
    """The `prompt_token_ids` of a prompt that is these embeddings."""
    return (EMBEDDED_TOKEN,) * embeds.num_tokens


def num_embedded_tokens(request: GenerateRequest) -> int:
    """Prompt tokens `[0, n)` that are embeddings."""
    return 0 if request.prompt_embeds is None else request.prompt_embeds.num_tokens


def embedding_rows(embeds: PromptEmbeds, start: int, end: int) -> NDArray[np.float32]:
    """Rows `[start, end)`, float32 `[end - start, width]`, exact."""
    raw = _rows_bytes(embeds, start, end)
    if embeds.dtype == "bfloat16":
        high_halves = np.frombuffer(raw, "<u2").astype(np.uint32)
        values = (high_halves << np.uint32(16)).view(np.float32)
    else:
        values = np.frombuffer(raw, "<f4" if embeds.dtype == "float32" else "<f2")
    return values.astype(np.float32, copy=False).reshape(end - start, embeds.width)


def content_hashes(embeds: PromptEmbeds | None, start: int, end: int) -> tuple[bytes, ...]:
    """What names the embeddings among tokens `[start, end)` in the prefix cache; none if none."""
    if embeds is None or start >= embeds.num_tokens:
        return ()
    rows = _rows_bytes(embeds, start, min(end, embeds.num_tokens))
    return (hashlib.sha256(embeds.dtype.encode() + rows).digest(),)


def verify_embeds(
    embeds: PromptEmbeds, info: ModelInfo, *, param: str = "prompt_embeds", is_whole: bool = True
) -> None:
    """Check dtype, shape and size; whether they are finite is `verify_finite`'s to say.

    Args:
        is_whole: the bytes are there; else only what they are said to be is checked.

    Raises:
        InvalidParameterError: `param` names them.
    """
    if not info.prompt_embeds_width:
        raise InvalidParameterError(
            "You must set `--enable-prompt-embeds` to input `prompt_embeds`.",
            param=param,
            code="unsupported_parameter",
        )
    if embeds.dtype not in ITEM_BYTES:
        raise _refused(param, f"its dtype is none of {', '.join(ITEM_BYTES)}")
    if embeds.width != info.prompt_embeds_width:
        raise _refused(
            param,
            f"its rows have {embeds.width} numbers, but this model's have "
            f"{info.prompt_embeds_width}",
        )
    if not 1 <= embeds.num_tokens <= info.max_model_len:
        raise _refused(param, f"it has {embeds.num_tokens} rows, not 1 to {info.max_model_len}")
    if is_whole and len(embeds.data) != num_bytes(embeds):
        raise _refused(param, f"it has {len(embeds.data)} bytes, not {num_bytes(embeds)}")


def verify_finite(embeds: PromptEmbeds, *, param: str = "prompt_embeds") -> None:
    """Raise InvalidParameterError for NaN or an infinity, which would be in every score."""
    if embeds.dtype == "bfloat16":
        bits = np.frombuffer(embeds.data, "<u2")
        is_finite = bool(((bits & np.uint16(0x7F80)) != np.uint16(0x7F80)).all())
    else:
        values = np.frombuffer(embeds.data, "<f4" if embeds.dtype == "float32" else "<f2")
        is_finite = bool(np.isfinite(values).all())
    if not is_finite:
        raise _refused(param, "it holds NaN or infinity")


def num_bytes(embeds: PromptEmbeds) -> int:
    """Bytes that its shape and dtype need."""
    return embeds.num_tokens * embeds.width * ITEM_BYTES[embeds.dtype]


def _rows_bytes(embeds: PromptEmbeds, start: int, end: int) -> bytes:
    row_bytes = embeds.width * ITEM_BYTES[embeds.dtype]
    return embeds.data[start * row_bytes : end * row_bytes]


def _refused(param: str, reason: str) -> InvalidParameterError:
    return InvalidParameterError(f"Invalid '{param}': {reason}.", param=param)
