"""One continuation of one prompt, from admission to its last token.

How far a sequence has come is told by three counters, all in tokens from its start:

    [0, num_computed_tokens)             KV is in pages (or will be when the launched steps end)
    [0, len(token_ids))                  ids the host knows: prompt, then settled output
    [0, num_tokens)                      the above and the ids still on the device:
                                         num_tokens = len(token_ids) + num_pending_tokens

A step computes `[num_computed_tokens, num_computed_tokens + num_new_tokens)`. There is no prefill
and no decode: `num_computed_tokens` chases `num_tokens`, and a step that reaches it samples one
token more. Example, prompt of 5, steps of 3: compute [0, 3); compute [3, 5) and sample → pending
1, num_tokens 6; compute [5, 6) with the id still on the device and sample → num_tokens 7; settle
the second step → `token_ids` has 6 entries, pending 1.

Only the scheduler writes these fields.
"""

from __future__ import annotations

import dataclasses
import enum

from engine.grammar.guide import Guide
from engine.request import GenerateRequest, SamplingParams, TokenLogprobs


class SequenceStatus(enum.Enum):
    """WAITING → RUNNING → FINISHED, with RUNNING → WAITING when preempted."""

    WAITING = "waiting"
    RUNNING = "running"
    FINISHED = "finished"


@dataclasses.dataclass(slots=True, eq=False)
class Sequence:
    """State of one sequence. See the module docstring for the counters.

    Attributes:
        sequence_index: which of the request's `num_sequences` it is.
        page_ids: pages owned or shared, in order; page i holds tokens
            [i*page_size, (i+1)*page_size).
        slot_index: row of device state; None unless RUNNING.
        num_pending_tokens: sampled by launched steps, not yet settled.
        num_cached_tokens: prompt tokens found in the prefix cache at first admission.
        arrival_index: order of arrival, given by the scheduler; ties of priority follow it.
        start_index: order of first starts, from 1; 0 until then. Who began first yields last.
        max_num_tokens: no token is sampled once there are this many, pending ones included.
        stop_ids: sampled ids that may end it, end-of-sequence ids among them.
        page_keys: prefix-cache keys of its full pages, as far as they were ever asked for.
        num_published_pages: leading entries of `page_ids` known to the prefix cache.
        guide: what it may say next; None unless its request is guided, and then until it is made.
        prompt_scores: one entry per prompt token while prompt logprobs are owed, else None.
    """

    request: GenerateRequest
    sequence_index: int
    token_ids: list[int]
    status: SequenceStatus = SequenceStatus.WAITING
    num_computed_tokens: int = 0
    num_pending_tokens: int = 0
    page_ids: list[int] = dataclasses.field(default_factory=list)
    slot_index: int | None = None
    num_cached_tokens: int = 0
    num_preemptions: int = 0
    arrival_index: int = 0
    start_index: int = 0
    queued_s: float = 0.0
    scheduled_s: float = 0.0
    first_token_s: float = 0.0
    last_token_s: float = 0.0
    max_num_tokens: int = 0
    stop_ids: frozenset[int] = frozenset()
    page_keys: list[bytes] = dataclasses.field(default_factory=list)
    num_published_pages: int = 0
    prompt_scores: list[TokenLogprobs | None] | None = None
    guide: Guide | None = None

    @classmethod
    def from_request(cls, request: GenerateRequest, sequence_index: int) -> Sequence:
        """A new waiting sequence holding the prompt's ids."""
        return cls(request, sequence_index, list(request.prompt_token_ids))

    @property
    def sampling(self) -> SamplingParams:
        """The request's sampling parameters."""
        return self.request.sampling

    @property
    def num_prompt_tokens(self) -> int:
        """Tokens of the prompt."""
        return len(self.request.prompt_token_ids)

    @property
    def num_tokens(self) -> int:
        """Known and pending tokens together."""
        return len(self.token_ids) + self.num_pending_tokens

    @property
    def num_output_tokens(self) -> int:
        """Settled output tokens."""
        return len(self.token_ids) - self.num_prompt_tokens
