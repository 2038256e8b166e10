"""Between text and token ids: tokenizer, detokenizer, stop strings, chat templates. No jax."""

from __future__ import annotations

from engine.text.chat_template import ChatTemplate, TemplateError
from engine.text.detokenizer import IncrementalDetokenizer
from engine.text.stop import StopMatch, StopStringMatcher
from engine.text.tokenizer import Tokenizer
from engine.text.watch import TextWatch

__all__ = [
    "ChatTemplate",
    "IncrementalDetokenizer",
    "StopMatch",
    "StopStringMatcher",
    "TemplateError",
    "TextWatch",
    "Tokenizer",
]
