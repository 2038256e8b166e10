"""Grammars of waiting sequences, compiled in a thread while the device works for others.

A sequence whose request is guided waits in the queue until `take_ready` gives it its guide. The
thread and the vocabulary come into being with the first of them.
"""

from __future__ import annotations

import collections
import concurrent.futures
from collections.abc import Callable
from typing import TypeAlias

from llguidance import LLMatcher

from engine.errors import ModelFormatError, RequestError, SequenceError
from engine.grammar.compile import compile_grammar
from engine.grammar.guide import Guide
from engine.grammar.guided import is_guided
from engine.grammar.vocabulary import Vocabulary
from engine.request import ErrorInfo, GenerateRequest, Grammar
from engine.sequence import Sequence

MAX_KEPT = 64
"""Compiled grammars kept for the next requests with the same source."""

MakeVocabulary: TypeAlias = Callable[[], Vocabulary]
Ready: TypeAlias = tuple[Sequence, Guide | ErrorInfo]


class GuideLibrary:
    """One thread calls it; another one of its own compiles.

    Args:
        make_vocabulary: called once, in that thread. Raises what every guided request is told.
    """

    def __init__(self, make_vocabulary: MakeVocabulary) -> None:
        self._make_vocabulary = make_vocabulary
        self._vocabulary: Vocabulary | None = None
        self._compiled: collections.OrderedDict[str, LLMatcher] = collections.OrderedDict()
        self._thread: concurrent.futures.ThreadPoolExecutor | None = None
        self._waiting: list[tuple[Sequence, concurrent.futures.Future[Guide]]] = []

    def open(self, sequences: list[Sequence]) -> None:
        """Begin to make the guides of a new request's sequences, if it is guided."""
        for sequence in sequences:
            if is_guided(sequence.request):
                future = self._executor().submit(self._make_guide, sequence.request)
                self._waiting.append((sequence, future))

    def take_ready(self) -> list[Ready]:
        """Guides made since the last call, or why one could not be."""
        if not self._waiting:
            return []
        done = [entry for entry in self._waiting if entry[1].done()]
        self._waiting = [entry for entry in self._waiting if not entry[1].done()]
        return [(sequence, _made(sequence, future)) for sequence, future in done]

    def _executor(self) -> concurrent.futures.ThreadPoolExecutor:
        if self._thread is None:
            self._thread = concurrent.futures.ThreadPoolExecutor(1, "compile-grammars")
        return self._thread

    # ---- in the thread

    def _make_guide(self, request: GenerateRequest) -> Guide:
        if self._vocabulary is None:
            self._vocabulary = self._make_vocabulary()
        matcher = None if request.grammar is None else self._matcher(request.grammar)
        return Guide(request, self._vocabulary, matcher)

    def _matcher(self, grammar: Grammar) -> LLMatcher:
        assert self._vocabulary is not None
        compiled = self._compiled.get(grammar.source)
        if compiled is None:
            compiled = compile_grammar(grammar, self._vocabulary)
            self._compiled[grammar.source] = compiled
            if len(self._compiled) > MAX_KEPT:
                self._compiled.popitem(last=False)
        self._compiled.move_to_end(grammar.source)
        return compiled.deep_copy()


def _made(sequence: Sequence, future: concurrent.futures.Future[Guide]) -> Guide | ErrorInfo:
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
