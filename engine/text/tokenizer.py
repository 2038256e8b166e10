"""A model folder's tokenizer: text to ids and back.

`tokenizer.json` is read with the `tokenizers` library alone (10 ms); only a folder without one
costs the import of transformers, which converts the older formats. Code from a model folder is
never run. All methods may be called from any thread.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from tokenizers import AddedToken
from tokenizers import Tokenizer as Backend

from engine.errors import ModelFormatError
from engine.text.pieces import piece_decoder
from engine.text.tokenizer_files import TokenizerConfig, load_backend, read_tokenizer_config

_MAX_TOKEN_ID = 2**32 - 1


class Tokenizer:
    """Text to ids and back.

    Attributes:
        vocab_size: ids this tokenizer knows (the model's own vocabulary may be padded beyond).
        special_ids: ids that `skip_special_tokens` leaves out of text.
        added_ids: ids of all added tokens, special or not.
        is_byte_exact: tokens are byte strings that concatenate to the text.
    """

    def __init__(self, backend: Backend, config: TokenizerConfig | None = None) -> None:
        backend.no_truncation()
        backend.no_padding()
        self._backend = backend
        self.config = config or TokenizerConfig()
        added: dict[int, AddedToken] = backend.get_added_tokens_decoder()
        self.special_ids = frozenset(index for index, token in added.items() if token.special)
        self.added_ids = frozenset(added)
        self.vocab_size: int = backend.get_vocab_size(with_added_tokens=True)
        self._piece_bytes = piece_decoder(_decoder_description(backend))
        self.is_byte_exact = self._piece_bytes is not None
        self._bytes_of_id: dict[int, bytes] = {}

    @classmethod
    def from_folder(cls, folder: str | Path) -> Tokenizer:
        """Load from a Hugging Face folder.

        Raises:
            ModelFormatError: there is no usable tokenizer in it.
        """
        config = read_tokenizer_config(Path(folder))
        return cls(load_backend(Path(folder), config), config)

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        """Ids of a text, with the tokenizer's own begin and end tokens when asked for."""
        return self.encode_batch([text], add_special_tokens=add_special_tokens)[0]

    def encode_batch(
        self, texts: Sequence[str], *, add_special_tokens: bool = True
    ) -> list[list[int]]:
        """Ids of several texts; releases the GIL while it works."""
        encodings = self._backend.encode_batch_fast(
            list(texts), add_special_tokens=add_special_tokens
        )
        return [encoding.ids for encoding in encodings]

    def offsets(self, text: str, *, add_special_tokens: bool = True) -> list[tuple[int, int]]:
        """For each of the ids of `encode` the characters [start, end) of the text it stands for."""
        return self._backend.encode(text, add_special_tokens=add_special_tokens).offsets

    def decode(self, token_ids: Sequence[int], *, skip_special_tokens: bool = True) -> str:
        """Text of a whole sequence; ids that the tokenizer does not know give nothing."""
        known = [index for index in token_ids if 0 <= index <= _MAX_TOKEN_ID]
        return self._backend.decode(known, skip_special_tokens=skip_special_tokens)

    def token_string(self, token_id: int) -> str | None:
        """The piece as stored in the vocabulary, e.g. ``"Ġwor"``; None for an unknown id."""
        return self._backend.id_to_token(token_id) if token_id >= 0 else None

    def token_id(self, piece: str) -> int | None:
        """The id of a piece as stored in the vocabulary."""
        return self._backend.token_to_id(piece)

    def token_bytes(self, token_id: int) -> bytes:
        """The bytes a token adds to a text; for vocabularies without bytes, its text in UTF-8."""
        known = self._bytes_of_id.get(token_id)
        if known is None:
            known = self._bytes_of_id[token_id] = self._compute_bytes(token_id)
        return known

    def token_text(self, token_id: int) -> str:
        """A token alone as text, U+FFFD standing for parts of characters."""
        return self.token_bytes(token_id).decode("utf-8", "replace")

    def reading_names_as_text(self) -> Tokenizer:
        """The same vocabulary, but the name of a special token in a text is a text like any."""
        backend = Backend.from_str(self.to_json())
        backend.encode_special_tokens = True
        return Tokenizer(backend, self.config)

    def to_json(self) -> str:
        """The whole tokenizer as the text of a tokenizer.json."""
        return self._backend.to_str()

    def _compute_bytes(self, token_id: int) -> bytes:
        piece = self.token_string(token_id)
        if piece is None:
            return b""
        if self._piece_bytes is not None:
            return self._piece_bytes(piece)
        return self.decode([token_id], skip_special_tokens=False).encode()

    @cached_property
    def max_piece_characters(self) -> int:
        """Characters of the longest piece: no text has fewer tokens than its length over this."""
        return max(map(len, self._backend.get_vocab()), default=1)

    @cached_property
    def bos_token_id(self) -> int | None:
        """Id of the begin token named in tokenizer_config.json."""
        return None if self.config.bos_token is None else self.token_id(self.config.bos_token)

    @cached_property
    def eos_token_id(self) -> int | None:
        """Id of the end token named in tokenizer_config.json."""
        return None if self.config.eos_token is None else self.token_id(self.config.eos_token)


def _decoder_description(backend: Backend) -> dict[str, Any] | None:
    decoder = backend.decoder
    if decoder is None:
        return None
    try:
        return json.loads(decoder.__getstate__())
    except (TypeError, ValueError) as error:
        raise ModelFormatError(
            "The tokenizer's decoder is not one tokenizers can store."
        ) from error
