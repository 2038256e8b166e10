"""Grammars of waiting sequences, compiled in threads while the device works for others.

A sequence whose request is guided waits in the queue until `take_ready` gives it its guide. The
threads and the vocabulary come into being with the first of them.
"""

from __future__ import annotations

import collections
import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import TypeAlias

from llguidance import LLMatcher

from engine.errors import ModelFormatError, RequestError, SequenceError
from engine.grammar.compile import compile_grammar
from engine.grammar.guide import Guide
from engine.grammar.guided import is_guided
from engine.grammar.lanes import Lanes
from engine.grammar.vocabulary import Vocabulary
from engine.request import ErrorInfo, Grammar
from engine.sequence import Sequence, SequenceStatus

MAX_KEPT = 64
"""Compiled grammars kept for the next requests with the same source."""

MakeVocabulary: TypeAlias = Callable[[], Vocabulary]
Ready: TypeAlias = tuple[Sequence, Guide | ErrorInfo]


class GuideLibrary:
    """One thread calls it; others of its own compile.

    Args:
        make_vocabulary: called once, in one of those. Raises what every guided request is told.
    """

    def __init__(self, make_vocabulary: MakeVocabulary) -> None:
        self._make_vocabulary = make_vocabulary
        self._vocabulary: Vocabulary | None = None
        self._compiled: collections.OrderedDict[str, LLMatcher] = collections.OrderedDict()
        self._lock = threading.Lock()
        self._lanes = Lanes("compile-grammars")
        self._waiting: list[tuple[Sequence, Future[Guide]]] = []

    def open(self, sequences: list[Sequence]) -> None:
        """Begin to make the guides of a new request's sequences, if it is guided."""
        for sequence in sequences:
            if is_guided(sequence.request):
                self._waiting.append((sequence, self._submit(sequence)))

    @property
    def num_waiting(self) -> int:
        """Sequences whose guide has not been taken."""
        return len(self._waiting)

    def take_ready(self) -> list[Ready]:
        """Guides made since the last call, or why one could not be."""
        if not self._waiting:
            return []
        done: list[Ready] = []
        waiting = self._waiting
        self._waiting = []
        for sequence, future in waiting:
            if future.done():  # asked once: it may become so at any moment
                done.append((sequence, _made(sequence, future)))
            else:
                self._waiting.append((sequence, future))
        return done

    def _submit(self, sequence: Sequence) -> Future[Guide]:
        grammar = sequence.request.grammar
        is_known = grammar is None or self._known(grammar.source) is not None
        num_bytes = 0 if is_known or grammar is None else len(grammar.source)
        work = partial(self._make_guide, sequence)
        return self._lanes.submit(sequence.request.tenant, num_bytes, work).result

    # ---- in the threads

    def _make_guide(self, sequence: Sequence) -> Guide:
        request = sequence.request
        if sequence.status is SequenceStatus.FINISHED:
            raise SequenceError("it ended before its grammar was compiled")
        vocabulary = self._read_vocabulary()
        matcher = None if request.grammar is None else self._matcher(request.grammar, vocabulary)
        return Guide(request, vocabulary, matcher)

    def _read_vocabulary(self) -> Vocabulary:
        with self._lock:
            if self._vocabulary is None:
                self._vocabulary = self._make_vocabulary()
            return self._vocabulary

    def _matcher(self, grammar: Grammar, vocabulary: Vocabulary) -> LLMatcher:
        compiled = self._known(grammar.source)
        if compiled is None:
            compiled = compile_grammar(grammar, vocabulary)
            with self._lock:
                self._compiled[grammar.source] = compiled
                if len(self._compiled) > MAX_KEPT:
                    self._compiled.popitem(last=False)
        return compiled.deep_copy()

    def _known(self, source: str) -> LLMatcher | None:
        with self._lock:
            compiled = self._compiled.get(source)
            if compiled is not None:
                self._compiled.move_to_end(source)
            return compiled


def _made(sequence: Sequence, future: Future[Guide]) -> Guide | ErrorInfo:
    error = future.exception()
    if error is None:
        return future.result()
    grammar = sequence.request.grammar
    param = "thinking_token_budget" if grammar is None else grammar.param
    if isinstance(error, RequestError | ModelFormatError):
        return ErrorInfo("InvalidParameterError", str(error), param, "invalid_grammar")
    if isinstance(error, SequenceError):  # of an output that is followed
        return ErrorInfo("SequenceError", str(error))
    return ErrorInfo("SequenceError", "the grammar could not be compiled")
