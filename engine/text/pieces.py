"""Which bytes a vocabulary piece stands for.

Two make-ups cover nearly every published model, and in both a text is the plain concatenation of
its tokens' bytes, so that streaming needs no re-decoding:

    byte level       "Ġwor" → b" wor"    every character stands for one byte (GPT-2's table)
    byte fallback    "▁wor" → b" wor"    and "<0xE4>" → b"\\xe4" (SentencePiece)

`piece_decoder` returns None for any other decoder (WordPiece and the like).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

PieceDecoder = Callable[[str], bytes]

_BYTE_PIECE = re.compile(r"<0x([0-9A-Fa-f]{2})>")


def _byte_level_table() -> dict[str, int]:
    """GPT-2's character for each byte, inverted: printable bytes stand for themselves, the
    others for the code points from 256 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    table = {chr(byte): byte for byte in printable}
    others = [byte for byte in range(256) if byte not in set(printable)]
    return table | {chr(256 + index): byte for index, byte in enumerate(others)}


_BYTE_OF_CHARACTER = _byte_level_table()


def byte_level(piece: str) -> bytes:
    """Bytes of a byte-level piece; a piece with foreign characters (an added token) is itself."""
    try:
        return bytes([_BYTE_OF_CHARACTER[character] for character in piece])
    except KeyError:
        return piece.encode()


def byte_fallback(piece: str) -> bytes:
    """Bytes of a SentencePiece piece with byte fallback."""
    match = _BYTE_PIECE.fullmatch(piece)
    return bytes([int(match[1], 16)]) if match else metaspace(piece)


def metaspace(piece: str) -> bytes:
    """Bytes of a SentencePiece piece of a vocabulary without byte pieces."""
    return piece.replace("▁", " ").encode()


_SPACE_REPLACEMENT = {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}
_HARMLESS = ("Fuse", "Strip")


def piece_decoder(decoder: dict[str, Any] | None) -> PieceDecoder | None:
    """The function for a `decoder` of tokenizer.json; None when tokens do not just concatenate.

    `Strip` is left out on purpose: it removes the space at the start of a whole text, and
    generated text continues another.
    """
    if decoder is None:
        return None
    parts: list[dict[str, Any]] = decoder.get("decoders") or [decoder]
    kinds = {part["type"] for part in parts if part["type"] not in _HARMLESS}
    if kinds == {"ByteLevel"}:
        return byte_level
    if kinds == {"Replace", "ByteFallback"} and _SPACE_REPLACEMENT in parts:
        return byte_fallback
    if kinds == {"Metaspace", "ByteFallback"}:
        return byte_fallback
    if kinds == {"Metaspace"} and parts[0].get("replacement") == "▁":
        return metaspace
    return None
