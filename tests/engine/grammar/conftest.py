"""The embedded model's vocabulary, and grammars over it."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import pytest

from engine.grammar.compile import compile_grammar
from engine.grammar.guide import Guide
from engine.grammar.vocabulary import Vocabulary, make_vocabulary
from engine.request import GenerateRequest, Grammar, ReasoningSpan, SamplingParams
from engine.text.tokenizer import Tokenizer
from engine.weights.source import find_model_folder

VOCAB_SIZE = 1100
"""More ids than the tokenizer's 1024, as many models have."""
EOS = 0
PROMPT: tuple[int, ...] = (5, 6, 7)


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_folder(find_model_folder("", ""))


@pytest.fixture(scope="session")
def vocabulary(tokenizer: Tokenizer) -> Vocabulary:
    return make_vocabulary(tokenizer, VOCAB_SIZE, (EOS,))


class Followed:
    """Generated ids and the guide that follows them."""

    def __init__(
        self,
        vocabulary: Vocabulary,
        source: str | None,
        *,
        begins_after: tuple[tuple[int, ...], ...] = (),
        reasoning: ReasoningSpan | None = None,
        **sampling: object,
    ) -> None:
        grammar = None if source is None else Grammar(source=source, begins_after=begins_after)
        request = GenerateRequest(
            request_id="r",
            prompt_token_ids=PROMPT,
            sampling=SamplingParams(max_tokens=100, **sampling),  # pyright: ignore[reportArgumentType]
            grammar=grammar,
            reasoning=reasoning,
        )
        matcher = None if grammar is None else compile_grammar(grammar, vocabulary).deep_copy()
        self.guide = Guide(request, vocabulary, matcher)
        self.token_ids: list[int] = [*PROMPT]
        self._num_words = vocabulary.num_words

    def push(self, *token_ids: int) -> None:
        for token_id in token_ids:
            self.token_ids.append(token_id)
            self.guide.accept(self.token_ids)

    def allowed(self) -> set[int]:
        words = np.zeros(self._num_words, np.uint32)
        self.guide.fill(words)
        return {i for i in range(VOCAB_SIZE) if words[i // 32] >> np.uint32(i % 32) & 1}


@pytest.fixture
def follow(vocabulary: Vocabulary) -> Callable[..., Followed]:
    """A new sequence after the prompt (5, 6, 7), with a grammar (or None) and sampling fields."""
    return functools.partial(Followed, vocabulary)
