"""The prompt given back before its continuation (`echo`)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from engine.text.detokenizer import IncrementalDetokenizer
from engine.text.tokenizer import Tokenizer


@dataclasses.dataclass(frozen=True, slots=True)
class Echo:
    """The prompt's text and where each of its tokens begins in it."""

    text: str
    text_offsets: tuple[int, ...]


def make_echo(tokenizer: Tokenizer, token_ids: Sequence[int], text: str | None) -> Echo:
    """Echo of a prompt.

    Arguments:
        text: the prompt as the client wrote it; None when it came as ids. A begin token that the
            tokenizer put before it has no text of its own.
    """
    detokenizer = IncrementalDetokenizer(tokenizer, skip_special_tokens=False)
    offsets: list[int] = []
    pieces: list[str] = []
    for position, token_id in enumerate(token_ids):
        offsets.append(detokenizer.num_characters)
        is_added = position == 0 and text is not None and token_id == tokenizer.bos_token_id
        if not is_added:
            pieces.append(detokenizer.push(token_id))
    pieces.append(detokenizer.flush())
    shown = "".join(pieces) if text is None else text
    return Echo(shown, tuple(min(offset, len(shown)) for offset in offsets))
