"""What `engine.LLM` returns, and how it is put together from deltas. Names are vLLM's."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from engine.request import ErrorInfo, FinishReason, GenerateRequest, TokenDelta, TokenLogprobs
from engine.text.detokenizer import IncrementalDetokenizer
from engine.text.stop import StopStringMatcher
from engine.text.tokenizer import Tokenizer


@dataclasses.dataclass
class CompletionOutput:
    """One continuation.

    Attributes:
        index: which of the request's `n` it is.
        logprobs: one entry per token when `SamplingParams.logprobs` was set.
        finish_reason: "stop", "length" or "error"; a failure is never "stop".
        stop_reason: the stop string or stop token id that ended it; None for the model's own end.
        error: what went wrong when `finish_reason` is "error".
    """

    index: int
    text: str = ""
    token_ids: list[int] = dataclasses.field(default_factory=list)
    logprobs: list[TokenLogprobs] | None = None
    finish_reason: str | None = None
    stop_reason: str | int | None = None
    error: ErrorInfo | None = None


@dataclasses.dataclass
class RequestOutput:
    """One prompt and its continuations.

    Attributes:
        prompt: as text; None when it was given as ids.
        prompt_logprobs: when asked for: one entry per prompt token, the first None.
        num_cached_tokens: prompt tokens whose KV came from the prefix cache.
    """

    request_id: str
    prompt: str | None
    prompt_token_ids: list[int]
    outputs: list[CompletionOutput]
    prompt_logprobs: list[TokenLogprobs | None] | None = None
    num_cached_tokens: int = 0

    @property
    def finished(self) -> bool:
        """Whether every continuation has ended."""
        return all(output.finish_reason is not None for output in self.outputs)


class OutputBuilder:
    """Turns one request's deltas into its output: detokenizes, finds stop strings."""

    def __init__(
        self,
        request: GenerateRequest,
        prompt: str | None,
        tokenizer: Tokenizer,
        stop: Sequence[str],
    ) -> None:
        self.request = request
        outputs = [CompletionOutput(index) for index in range(request.num_sequences)]
        prompt_token_ids = list(request.prompt_token_ids)
        self.output = RequestOutput(request.request_id, prompt, prompt_token_ids, outputs)
        self._detokenizers = [IncrementalDetokenizer(tokenizer) for _ in outputs]
        self._matchers = [StopStringMatcher(stop) for _ in outputs]

    def push(self, delta: TokenDelta) -> bool:
        """Take in a delta. True when a stop string ended a sequence the engine still runs."""
        completion = self.output.outputs[delta.sequence_index]
        if completion.finish_reason is not None:
            return False
        self._note_prompt(delta)
        is_stopped = self._take_tokens(completion, delta)
        if not is_stopped and delta.finish_reason is not None:
            self._finish(completion, delta)
        return is_stopped and delta.finish_reason is None

    def _note_prompt(self, delta: TokenDelta) -> None:
        self.output.num_cached_tokens = max(self.output.num_cached_tokens, delta.num_cached_tokens)
        if delta.prompt_logprobs is not None:
            self.output.prompt_logprobs = list(delta.prompt_logprobs)

    def _take_tokens(self, completion: CompletionOutput, delta: TokenDelta) -> bool:
        for position, token_id in enumerate(delta.token_ids):
            completion.token_ids.append(token_id)
            if delta.logprobs is not None:
                completion.logprobs = [*(completion.logprobs or ()), delta.logprobs[position]]
            if self._take_text(completion, token_id):
                return True
        return False

    def _take_text(self, completion: CompletionOutput, token_id: int) -> bool:
        text = self._detokenizers[completion.index].push(token_id)
        can_stop = len(completion.token_ids) >= self.request.sampling.min_tokens
        match = self._matchers[completion.index].push(text, can_stop=can_stop)
        completion.text += match.text
        if match.stop is None:
            return False
        completion.finish_reason = FinishReason.STOP.value
        completion.stop_reason = match.stop
        return True

    def _finish(self, completion: CompletionOutput, delta: TokenDelta) -> None:
        assert delta.finish_reason is not None
        rest = self._matchers[completion.index].push(self._detokenizers[completion.index].flush())
        completion.text += rest.text + self._matchers[completion.index].flush()
        completion.finish_reason = delta.finish_reason.value
        completion.stop_reason = delta.stop_token_id
        completion.error = delta.error
