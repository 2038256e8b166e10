"""The model's vocabulary as llguidance sees it: a trie of byte strings."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from llguidance import LLTokenizer

from engine.errors import ModelFormatError
from engine.text.tokenizer import Tokenizer


@dataclasses.dataclass(frozen=True, slots=True)
class Vocabulary:
    """A trie that any number of matchers share, from any thread.

    Attributes:
        trie: of all ids in [0, vocab_size), those beyond the tokenizer's being unusable.
        num_words: 32-bit words of a mask row of the model.
        special_ids: tokens that no text matches, by their text: a grammar names them as `<[id]>`.
    """

    trie: LLTokenizer
    eos_token_ids: tuple[int, ...]
    num_words: int
    special_ids: Mapping[str, int]


def make_vocabulary(
    tokenizer: Tokenizer, vocab_size: int, eos_token_ids: Sequence[int]
) -> Vocabulary:
    """Read a tokenizer; about a second for 128 000 ids.

    Args:
        vocab_size: of the model, which may have more ids than the tokenizer.
        eos_token_ids: any of them ends a complete output; at least one.

    Raises:
        ModelFormatError: the tokenizer's tokens cannot be told as bytes.
    """
    eos = [index for index in eos_token_ids if index < vocab_size]
    if not eos:
        raise ModelFormatError("The model names no end-of-sequence id: no output could be complete")
    try:
        trie = _trie(tokenizer, vocab_size, eos)
    except ValueError as error:
        raise ModelFormatError("The tokenizer's tokens cannot be told as bytes") from error
    special_ids = {
        piece: index
        for index in sorted(tokenizer.special_ids | tokenizer.added_ids)
        if index < vocab_size
        and trie.is_special_token(index)
        and (piece := tokenizer.token_string(index))
    }
    return Vocabulary(trie, tuple(eos), -(-vocab_size // 32), special_ids)


def _trie(tokenizer: Tokenizer, vocab_size: int, eos: list[int]) -> LLTokenizer:
    """Of our own reading of the tokens, not llguidance's.

    Where a grammar leaves but one text, llguidance admits only the tokens that the tokenizer would
    split it into. Its own reader takes added tokens such as `<tool_call>` for special ones and
    reads their names in a text as those tokens, which it then refuses as no text.
    """
    return LLTokenizer(_Pieces(tokenizer, vocab_size, eos[0]), eos_token=eos)  # pyright: ignore[reportArgumentType]


class _Pieces:
    """What llguidance wants of a tokenizer: the bytes of every id."""

    is_tokenizer_wrapper = True
    bos_token_id = None

    def __init__(self, tokenizer: Tokenizer, vocab_size: int, eos_token_id: int) -> None:
        self._tokenizer = tokenizer.reading_names_as_text()
        self.eos_token_id = eos_token_id
        self.special_token_ids = sorted(tokenizer.special_ids | {eos_token_id})
        self.tokens = [
            (tokenizer.token_string(index) or "").encode()
            if index in tokenizer.special_ids
            else tokenizer.token_bytes(index)
            for index in range(max(vocab_size, tokenizer.vocab_size))
        ]

    def __call__(self, text: bytes | str) -> list[int]:
        """Ids of a text."""
        known = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
        return self._tokenizer.encode(known, add_special_tokens=False)
