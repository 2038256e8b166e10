"""What an answer used, and vLLM's `metrics` of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from api.services.generation.request_metrics import request_metrics
from api.services.generation.run import Generation


@dataclasses.dataclass(slots=True)
class Usage:
    """Tokens of one answer so far."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0

    def as_dict(self) -> dict[str, Any]:
        """OpenAI's usage object; details are always filled."""
        return {
            "prompt_tokens": self.prompt_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
            "completion_tokens": self.completion_tokens,
            "prompt_tokens_details": {"cached_tokens": self.cached_tokens, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": self.reasoning_tokens,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        }


def usage_of(generations: Sequence[Generation]) -> Usage:
    """The usage of an answer made of these; prompts count once, however many choices they had."""
    return Usage(
        sum(len(generation.request.prompt_token_ids) for generation in generations),
        sum(generation.num_tokens for generation in generations),
        sum(generation.num_cached_tokens for generation in generations),
        sum(generation.num_reasoning_tokens for generation in generations),
    )


def metrics_of(generations: Sequence[Generation]) -> dict[str, Any] | None:
    """vLLM's `metrics`, where the operator wants them: of an answer of one sequence."""
    first = generations[0]
    is_one = len(generations) == 1 and first.request.num_sequences == 1
    if not is_one or not first.context.settings.enable_per_request_metrics:
        return None
    return request_metrics(first.timings, first.num_tokens)
