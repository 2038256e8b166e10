"""Whether an output is stuck in a loop (vLLM's `repetition_detection`)."""

from __future__ import annotations

from collections.abc import Sequence

from engine.request import RepetitionDetection


def repeats(token_ids: Sequence[int], num_output_tokens: int, limits: RepetitionDetection) -> bool:
    """Whether the output ends with `min_count` copies of one pattern of an allowed size.

    Args:
        token_ids: prompt and output; only the last `num_output_tokens` are looked at.
    """
    if not limits.max_pattern_size or limits.min_count < 2:
        return False
    largest = min(limits.max_pattern_size, num_output_tokens // limits.min_count)
    return any(
        token_ids[-1] == token_ids[-1 - size] and _ends_with_copies(token_ids, size, limits)
        for size in range(max(1, limits.min_pattern_size), largest + 1)
    )


def _ends_with_copies(token_ids: Sequence[int], size: int, limits: RepetitionDetection) -> bool:
    """The last copies are equal if shifting them by one pattern changes nothing."""
    num_compared = size * (limits.min_count - 1)
    end = len(token_ids)
    last = token_ids[end - num_compared :]
    return last == token_ids[end - num_compared - size : end - size]
