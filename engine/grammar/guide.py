"""What one sequence may generate next, as far as its settled tokens tell."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from engine.errors import InvalidParameterError, SequenceError
from engine.grammar.thinking import ThinkingBudget, ends_with
from engine.request import GenerateRequest

if TYPE_CHECKING:  # the loop and the benchmarks of steps run without llguidance
    from llguidance import LLMatcher

    from engine.grammar.vocabulary import Vocabulary

Words = NDArray[np.uint32]
ALL = np.uint32(0xFFFFFFFF)


class Guide:
    """Follows the settled tokens of one sequence.

    thinking budget ──forces──► its end        gate ──closed──► anything but the end of sequence
                                                    ──open────► the grammar, then end of sequence

    Args:
        matcher: this sequence's own; None when only thinking is bounded.
    """

    def __init__(
        self, request: GenerateRequest, vocabulary: Vocabulary, matcher: LLMatcher | None
    ) -> None:
        sampling, grammar = request.sampling, request.grammar
        self._matcher = matcher
        self._vocabulary = vocabulary
        self._num_prompt_tokens = len(request.prompt_token_ids) - request.num_continued_tokens
        self._param = grammar.param if grammar else "structured_outputs"
        self._begins_after = grammar.begins_after if grammar else ()
        self._is_open = not self._begins_after
        self._ignores_eos = sampling.ignore_eos
        budget = sampling.thinking_token_budget
        self._budget = (
            None
            if budget is None or request.reasoning is None
            else ThinkingBudget(request.reasoning, budget)
        )
        self._follow(request.prompt_token_ids)

    @property
    def num_words(self) -> int:
        """32-bit words of a row that `fill` writes."""
        return self._vocabulary.num_words

    @property
    def is_complete(self) -> bool:
        """Whether the grammar allows nothing but the end of the sequence."""
        return self._is_open and self._matcher is not None and self._matcher.is_stopped()

    @property
    def is_whole(self) -> bool:
        """Whether the grammar lets the sequence end here; it may allow more as well."""
        return self._is_open and self._matcher is not None and self._matcher.is_accepting()

    def accept(self, token_ids: list[int]) -> None:
        """The last of these ids was generated.

        Raises:
            SequenceError: the grammar did not allow it.
            InvalidParameterError: the grammar is too complex to go on.
        """
        if self._budget is not None:
            self._budget.accept(token_ids, self._num_prompt_tokens)
        if self._matcher is None:
            return
        if self._is_open:
            self._consume(self._matcher, token_ids[-1])
        else:
            first = self._num_prompt_tokens
            self._is_open = any(ends_with(token_ids, end, first) for end in self._begins_after)

    def _follow(self, token_ids: tuple[int, ...]) -> None:
        """Go through the output that the request goes on with."""
        followed = list(token_ids[: self._num_prompt_tokens])
        for token_id in token_ids[self._num_prompt_tokens :]:
            followed.append(token_id)
            self.accept(followed)

    def fill(self, allowed_W: Words) -> None:
        """Write the bits of the ids allowed next, in the layout of `engine.sampling.row`.

        Raises:
            InvalidParameterError: the grammar is too complex to go on.
        """
        forced_id = None if self._budget is None else self._budget.forced_id
        if forced_id is not None:
            allowed_W[:] = 0
            allowed_W[forced_id // 32] = np.uint32(1) << np.uint32(forced_id % 32)
        elif self._matcher is None:
            allowed_W[:] = ALL
        elif not self._is_open:  # an end here would end it without what the grammar asks for
            allowed_W[:] = ALL
            self._ban_eos(allowed_W)
        else:
            self._fill_from_grammar(self._matcher, allowed_W)

    def _fill_from_grammar(self, matcher: LLMatcher, allowed_W: Words) -> None:
        mask_W = np.frombuffer(matcher.compute_bitmask(), np.uint32)
        if matcher.is_error():
            raise self._too_complex()
        allowed_W[:] = mask_W[: len(allowed_W)]
        if self._ignores_eos and not matcher.is_stopped():  # the grammar may have more
            self._ban_eos(allowed_W)

    def _ban_eos(self, allowed_W: Words) -> None:
        """Where something else is allowed."""
        without_W = allowed_W.copy()
        for index in self._vocabulary.eos_token_ids:
            without_W[index // 32] &= ~(np.uint32(1) << np.uint32(index % 32))
        if without_W.any():
            allowed_W[:] = without_W

    def _consume(self, matcher: LLMatcher, token_id: int) -> None:
        if matcher.is_stopped() and token_id in self._vocabulary.eos_token_ids:
            return
        if matcher.consume_token(token_id):
            return
        if "TooComplex" in matcher.stop_reason() or "(limit " in matcher.get_error():
            raise self._too_complex()
        raise SequenceError("the grammar does not allow the token that was generated")

    def _too_complex(self) -> InvalidParameterError:
        """llguidance's counters ended it further on than the first step, which is tried before."""
        message = f"Invalid '{self._param}': it cannot be enforced: it is too complex."
        return InvalidParameterError(message, param=self._param, code="invalid_grammar")
