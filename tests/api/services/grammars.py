"""What a request's grammar lets the model say."""

from __future__ import annotations

from typing import Any

from engine.grammar.compile import compile_grammar
from engine.grammar.vocabulary import make_vocabulary


def accepts(speaker: Any, text: str) -> bool:
    """Whether the last request's grammar lets the model say exactly this."""
    grammar, tokenizer = speaker.engine.requests[-1].grammar, speaker.context.tokenizer
    vocabulary = make_vocabulary(tokenizer, speaker.engine.info.vocab_size, (0,))
    matcher = compile_grammar(grammar, vocabulary)
    ids = tokenizer.encode(text)
    return matcher.try_consume_tokens(ids) == len(ids) and matcher.is_accepting()
