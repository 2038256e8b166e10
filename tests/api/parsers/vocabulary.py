"""A vocabulary of bytes and markers, to run grammars without a model."""

from __future__ import annotations

import functools
import random
import re

import llguidance
import numpy as np

EOS = 256


class _Bytes:
    def __init__(self, markers: tuple[str, ...]) -> None:
        self.eos_token_id = EOS
        self.bos_token_id = None
        self.tokens = [bytes([byte]) for byte in range(256)] + [b"<eos>"]
        self.tokens += [marker.encode() for marker in markers]
        self.special_token_ids = list(range(EOS, len(self.tokens)))

    def __call__(self, text: bytes | str) -> list[int]:
        return list(text if isinstance(text, bytes) else text.encode())


class Vocabulary:
    """Bytes, an end, and one special token for each marker."""

    def __init__(self, markers: tuple[str, ...] = ()) -> None:
        self.special = {marker: EOS + 1 + index for index, marker in enumerate(markers)}
        self.texts = {token: marker for marker, token in self.special.items()}
        wrapper = llguidance.TokenizerWrapper(_Bytes(markers))
        self.tokenizer = llguidance.LLTokenizer(wrapper)

    def tokens(self, text: str) -> list[int]:
        if not self.special:
            return list(text.encode())
        pieces = re.split("(" + "|".join(map(re.escape, self.special)) + ")", text)
        return [
            token
            for piece in pieces
            for token in ([self.special[piece]] if piece in self.special else piece.encode())
        ]

    def matcher(self, grammar: str) -> llguidance.LLMatcher:
        matcher = llguidance.LLMatcher(self.tokenizer, grammar)
        assert not matcher.is_error(), matcher.get_error() + grammar
        return matcher

    def admits(self, grammar: str, text: str) -> bool:
        matcher = self.matcher(grammar)
        tokens = self.tokens(text)
        return matcher.try_consume_tokens(tokens) == len(tokens) and matcher.is_accepting()

    def random_text(self, grammar: str, seed: int, max_tokens: int = 2000) -> str | None:
        """A text the grammar admits, walked at random; None if it got too long."""
        choose = random.Random(seed)
        matcher = self.matcher(grammar)
        pieces: list[bytes] = []
        for _ in range(max_tokens):
            allowed = self._allowed(matcher)
            if not allowed or (matcher.is_accepting() and choose.random() < 0.5):
                return b"".join(pieces).decode()
            token = choose.choice(allowed)
            pieces.append(self.texts[token].encode() if token > EOS else bytes([token]))
            assert matcher.consume_token(token)
        return None

    def _allowed(self, matcher: llguidance.LLMatcher) -> list[int]:
        bits = np.frombuffer(matcher.compute_bitmask(), dtype=np.uint8)
        allowed = [int(token) for token in np.flatnonzero(np.unpackbits(bits, bitorder="little"))]
        plain = [token for token in allowed if self._is_plain(token)]
        # a letter that takes several bytes leaves no choice
        return plain or [token for token in allowed if token != EOS]

    def _is_plain(self, token: int) -> bool:
        return token in self.texts or 32 <= token < 127 or token == 10


@functools.cache
def vocabulary(markers: tuple[str, ...] = ()) -> Vocabulary:
    return Vocabulary(markers)
