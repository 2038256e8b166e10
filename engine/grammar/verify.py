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
from engine.grammar.lanes import Job, Lanes
from engine.grammar.vocabulary import Vocabulary, make_vocabulary
from engine.request import Grammar, ModelInfo
from engine.text.tokenizer import Tokenizer

MAX_KEPT = 256
NUM_MAKERS = 2
"""Threads that write grammars out of what clients gave; that is quick, compiling may not be."""


class GrammarVerifier:
    """May be used from any thread. The vocabulary is read when the first grammar comes."""

    def __init__(self) -> None:
        self._makers = concurrent.futures.ThreadPoolExecutor(NUM_MAKERS, "make-grammars")
        self._lanes = Lanes("verify-grammars")
        self._lock = threading.Lock()
        self._vocabulary: Vocabulary | None = None
        self._known: collections.OrderedDict[str, str | None] = collections.OrderedDict()

    def make(
        self, make: Callable[[Vocabulary], Grammar], tokenizer: Tokenizer, info: ModelInfo
    ) -> concurrent.futures.Future[Grammar]:
        """Write a grammar in a thread. It is not compiled.

        Returns:
            Of the grammar, or of what `make` raises.
        """
        return self._makers.submit(lambda: make(self._read_vocabulary(tokenizer, info)))

    def verify(
        self, grammar: Grammar, tokenizer: Tokenizer, info: ModelInfo, *, tenant: str
    ) -> Job[str | None]:
        """Find out whether a grammar can be enforced, when it is the tenant's turn.

        Returns:
            The result is why it cannot be, or None. What is known already is told at once.
        """
        with self._lock:
            if grammar.source in self._known:
                self._known.move_to_end(grammar.source)
                return Job.done(self._known[grammar.source])
        return self._lanes.submit(
            tenant, len(grammar.source), lambda: self._find_out(grammar, tokenizer, info)
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
