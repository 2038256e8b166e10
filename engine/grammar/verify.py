"""Whether grammars can be enforced, found out by who takes requests, before the engine sees them.

The engine compiles again what was accepted here; both have the same caps, so nothing fails there
that passed here. What was found is kept, so that a schema sent with every request costs once.
"""

from __future__ import annotations

import collections
import concurrent.futures
import threading
from collections.abc import Callable

from engine.errors import InvalidParameterError
from engine.grammar.compile import compile_grammar
from engine.grammar.vocabulary import Vocabulary, make_vocabulary
from engine.request import Grammar, ModelInfo
from engine.text.tokenizer import Tokenizer

MAX_KEPT = 256
NUM_THREADS = 2
"""At most so many grammars are compiled at once; the others wait."""


class GrammarVerifier:
    """May be used from any thread. The vocabulary is read when the first grammar comes."""

    def __init__(self) -> None:
        self._threads = concurrent.futures.ThreadPoolExecutor(NUM_THREADS, "verify-grammars")
        self._lock = threading.Lock()
        self._vocabulary: Vocabulary | None = None
        self._known: collections.OrderedDict[str, str | None] = collections.OrderedDict()

    def submit(
        self, make: Callable[[Vocabulary], Grammar], tokenizer: Tokenizer, info: ModelInfo
    ) -> concurrent.futures.Future[Grammar]:
        """Make a grammar and verify it, in a thread.

        Returns:
            Of the grammar; or InvalidParameterError, of `make` or because it cannot be enforced.
        """

        def work() -> Grammar:
            grammar = make(self._read_vocabulary(tokenizer, info))
            self.verify(grammar, tokenizer, info)
            return grammar

        return self._threads.submit(work)

    def verify(self, grammar: Grammar, tokenizer: Tokenizer, info: ModelInfo) -> None:
        """Raise InvalidParameterError when it cannot be enforced; `param` is the grammar's."""
        with self._lock:
            is_known = grammar.source in self._known
            reason = self._known.get(grammar.source)
        if not is_known:
            reason = self._find_out(grammar, tokenizer, info)
        if reason is not None:
            raise InvalidParameterError(
                f"Invalid '{grammar.param}': {reason}", param=grammar.param, code="invalid_grammar"
            )

    def _find_out(self, grammar: Grammar, tokenizer: Tokenizer, info: ModelInfo) -> str | None:
        vocabulary = self._read_vocabulary(tokenizer, info)
        reason: str | None = None
        try:
            compile_grammar(grammar, vocabulary)
        except InvalidParameterError as error:
            reason = error.message.removeprefix(f"Invalid '{grammar.param}': ")
        with self._lock:
            self._known[grammar.source] = reason
            if len(self._known) > MAX_KEPT:
                self._known.popitem(last=False)
        return reason

    def _read_vocabulary(self, tokenizer: Tokenizer, info: ModelInfo) -> Vocabulary:
        with self._lock:
            if self._vocabulary is None:
                self._vocabulary = make_vocabulary(tokenizer, info.vocab_size, info.eos_token_ids)
            return self._vocabulary
