"""Compiling a grammar within caps, so that no grammar can take the time or memory of others.

The caps are llguidance's own counters (fuel, lexer states, items), which are the same on every
machine; sizes and depths of texts are bounded before it sees them. Compiling and computing masks
release the GIL. Measured on the embedded model: usual schemas 0.5 ms, 20 000 choices 0.5 s.
"""

from __future__ import annotations

from llguidance import LLMatcher, LLParserLimits

from engine.errors import InvalidParameterError
from engine.grammar.vocabulary import Vocabulary
from engine.request import Grammar

MAX_SOURCE_BYTES = 512 * 1024
"""Of a grammar in llguidance's form."""

LIMITS = LLParserLimits(
    initial_lexer_fuel=1_000_000,
    step_lexer_fuel=200_000,
    max_items_in_row=2_000,
    step_max_items=50_000,
    max_lexer_states=50_000,
    max_grammar_size=200_000,
    verbose_errors=False,
)
"""llguidance's defaults but for states (1 to 2 kB each) and size, which are stricter here."""

_MAX_REASON_CHARACTERS = 300


def compile_grammar(grammar: Grammar, vocabulary: Vocabulary) -> LLMatcher:
    """A matcher at the beginning of the grammar, to be copied for each sequence.

    Raises:
        InvalidParameterError: it is no grammar, asks for what cannot be enforced, matches nothing,
            or is beyond the caps; `param` is the grammar's.
    """
    if len(grammar.source.encode("utf-8", "replace")) > MAX_SOURCE_BYTES:
        raise _refusal(grammar, f"it is larger than {MAX_SOURCE_BYTES} bytes")
    matcher = LLMatcher(vocabulary.trie, grammar.source, log_level=0, limits=LIMITS)
    if matcher.is_error():
        raise _refusal(grammar, _reason(matcher.get_error()))
    if warnings := matcher.get_grammar_warnings():
        raise _refusal(grammar, _reason("; ".join(warnings)))
    _verify_first_step(grammar, matcher)
    return matcher


def _verify_first_step(grammar: Grammar, matcher: LLMatcher) -> None:
    """The lexer is built as it is used: a grammar that cannot take one step is refused now."""
    probe = matcher.deep_copy()
    probe.compute_bitmask()
    if probe.is_error():
        raise _refusal(grammar, _reason(probe.get_error()))


def _reason(text: str) -> str:
    """llguidance's words without its drawing of where in the grammar it was."""
    lines = [line.strip() for line in text.replace("<non-verbose/>", "").splitlines()]
    drawn = next((n for n, line in enumerate(lines) if line[:1].isdigit() and "|" in line), None)
    shown = " ".join(line for line in lines[:drawn] if line)
    return _PLAIN.get(shown, shown)[:_MAX_REASON_CHARACTERS] or "the grammar is not valid"


_PLAIN = {
    "NoExtensionBias": "no output could ever satisfy it",
    "NoExtension": "no output could ever satisfy it",
    "ParserTooComplex": "it is too complex",
    "LexerTooComplex": "it is too complex",
}


def _refusal(grammar: Grammar, reason: str) -> InvalidParameterError:
    message = f"Invalid '{grammar.param}': it cannot be enforced: {reason.rstrip('.')}."
    return InvalidParameterError(message, param=grammar.param, code="invalid_grammar")
