"""Stop strings over outputs that branch: each branch goes on from where the text was."""

from __future__ import annotations

from engine.text.detokenizer import IncrementalDetokenizer
from engine.text.stop import StopStringMatcher


class TextWatch:
    """One output's text so far, which stays as it is.

    Attributes:
        is_stopped: it has come to a stop string.
    """

    def __init__(
        self, detokenizer: IncrementalDetokenizer, stops: StopStringMatcher, min_tokens: int = 0
    ) -> None:
        """Watch for stop strings that end after more than `min_tokens` tokens."""
        self._detokenizer = detokenizer
        self._stops = stops
        self._num_tokens_left = min_tokens
        self.is_stopped = False

    def after(self, token_id: int) -> TextWatch:
        """The output with one token more."""
        grown = TextWatch(self._detokenizer.fork(), self._stops.fork(), self._num_tokens_left - 1)
        text = grown._detokenizer.push(token_id)
        match = grown._stops.push(text, can_stop=grown._num_tokens_left < 0)
        grown.is_stopped = match.stop is not None
        return grown
