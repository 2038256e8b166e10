"""Text of a sequence while its tokens arrive.

With a vocabulary of bytes (see `pieces`) the text is an incremental UTF-8 decoding: exact for
every script, constant work per token. Other vocabularies are decoded over a short window, twice:
what the longer decoding adds to the shorter is new.
"""

from __future__ import annotations

import codecs
import copy

from engine.text.tokenizer import Tokenizer

_UTF8 = codecs.getincrementaldecoder("utf-8")
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_WINDOW_TOKENS = 6


class IncrementalDetokenizer:
    """Turns one sequence's tokens into text.

    Arguments:
        skip_special_tokens: special tokens give no text.
        shown_special_ids: but for these.

    Attributes:
        num_characters: length of all text given so far. Read before `push`, it is the offset at
            which that token's text begins.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        skip_special_tokens: bool = True,
        shown_special_ids: frozenset[int] = frozenset(),
    ) -> None:
        self._tokenizer = tokenizer
        skipped = tokenizer.special_ids if skip_special_tokens else frozenset[int]()
        self._skipped = skipped - shown_special_ids
        self._utf8 = _UTF8("replace") if tokenizer.is_byte_exact else None
        self._window: list[int] = []
        self._num_shown = 0
        self.num_characters = 0

    def push(self, token_id: int) -> str:
        """The text this token completes: "" while a character is still in pieces."""
        if token_id in self._skipped:
            return ""
        if self._utf8 is not None:
            text = self._utf8.decode(self._tokenizer.token_bytes(token_id))
        else:
            text = self._decode_window(token_id)
        self.num_characters += len(text)
        return text

    def fork(self) -> IncrementalDetokenizer:
        """One that goes on from here by itself."""
        twin = copy.copy(self)
        twin._window = self._window.copy()
        if self._utf8 is not None:
            twin._utf8 = _UTF8("replace")
            twin._utf8.setstate(self._utf8.getstate())
        return twin

    def flush(self) -> str:
        """What an unfinished character at the end reads as (U+FFFD), when no more will come."""
        if self._utf8 is not None:
            text = self._utf8.decode(b"", final=True)
        else:
            text = self._unshown_text()
            self._num_shown = len(self._window)
        self.num_characters += len(text)
        return text

    def _decode_window(self, token_id: int) -> str:
        # window: [0, num_shown) was given out and is context, [num_shown, end) was not
        self._window.append(token_id)
        text = self._unshown_text()
        if not text or text.endswith(_REPLACEMENT):
            return ""
        self._window = self._window[-_WINDOW_TOKENS:]
        self._num_shown = len(self._window)
        return text

    def _unshown_text(self) -> str:
        shown = self._tokenizer.decode(self._window[: self._num_shown], skip_special_tokens=False)
        both = self._tokenizer.decode(self._window, skip_special_tokens=False)
        return both[len(shown) :]
