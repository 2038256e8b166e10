"""What came of a step: tokens are appended, sequences end, and each gain becomes a delta.

A row's result arrives one step late. Meanwhile its sequence may have

    ended       (stop token in an earlier row, abort): the result is dropped
    preempted   the sampled token is kept, and may end it; its pages are gone, nothing is published
    restarted   it has other pages now (`row.page_ids` is no longer its list): likewise
"""

from __future__ import annotations

from collections.abc import Iterable

from engine.error_info import error_info
from engine.errors import InvalidParameterError, SequenceError
from engine.grammar.guide import Guide
from engine.request import ErrorInfo, FinishReason, Timings, TokenDelta, TokenLogprobs
from engine.scheduler.plan import PlannedRow, RowResult
from engine.scheduler.repetition import repeats
from engine.scheduler.state import SchedulerState
from engine.sequence import Sequence, SequenceStatus

INVALID_RESULT = ErrorInfo(
    kind="SequenceError", message="the model gave no valid probability for the next token"
)


def settle_row(
    state: SchedulerState, row: PlannedRow, result: RowResult, now_s: float
) -> TokenDelta | None:
    """Take over one row's result; None when the sequence gained nothing to tell."""
    sequence = row.sequence
    if row.is_sampling:
        sequence.num_pending_tokens -= 1
    if sequence.status is SequenceStatus.FINISHED:
        return None
    if result.is_invalid:
        return end_with_error(state, sequence, INVALID_RESULT, now_s)
    if row.is_scoring:
        _keep_scores(sequence, row, result.prompt_logprobs)
    if row.page_ids is sequence.page_ids:
        page_size = state.pages.page_size
        if row.end // page_size > row.start // page_size:
            state.pages.publish(sequence, row.end)
    if row.is_sampling:
        return _append(state, sequence, result, now_s)
    if row.end >= sequence.max_num_tokens:  # only a prompt that nothing is generated for
        return _end(state, sequence, FinishReason.LENGTH)
    return None


def _append(
    state: SchedulerState, sequence: Sequence, result: RowResult, now_s: float
) -> TokenDelta:
    token_id = result.token_id
    assert token_id is not None, "a sampling row gives a token or is invalid"
    sequence.token_ids.append(token_id)
    if sequence.guide is not None and (failure := _advance_guide(sequence, sequence.guide)):
        return end_with_error(state, sequence, failure, now_s)
    state.counters.total_generated_tokens += 1
    state.service[sequence.request.can_wait].charge_output(sequence.request.tenant)
    sequence.last_token_s = now_s
    is_first = not sequence.first_token_s
    if is_first:
        sequence.first_token_s = now_s
    logprobs = None
    if sequence.request.sampling.logprobs is not None:
        assert result.logprobs is not None, "logprobs were asked for"
        logprobs = (result.logprobs,)
    reason = _reason_to_end(state, sequence, token_id)
    if reason is not None:
        return _end(state, sequence, reason, token_ids=(token_id,), logprobs=logprobs)
    return TokenDelta(
        request_id=sequence.request.request_id,
        sequence_index=sequence.sequence_index,
        token_ids=(token_id,),
        logprobs=logprobs,
        prompt_logprobs=None if sequence.prompt_scores is None else _take_scores(state, sequence),
        num_cached_tokens=sequence.num_cached_tokens,
        timings=_timings(sequence) if is_first else None,
    )


def _advance_guide(sequence: Sequence, guide: Guide) -> ErrorInfo | None:
    """Tell the guide of the last token; why it cannot go on, without that token, if it cannot."""
    try:
        guide.accept(sequence.token_ids)
    except (SequenceError, InvalidParameterError) as error:
        sequence.token_ids.pop()
        return error_info(error)
    return None


def _reason_to_end(state: SchedulerState, sequence: Sequence, token_id: int) -> FinishReason | None:
    """A complete output ends with an end-of-sequence id, also where those are ignored, or with
    the last token there is room for: nothing could follow."""
    is_complete = sequence.guide is not None and sequence.guide.is_complete
    if token_id in sequence.stop_ids and _may_stop(sequence):
        return FinishReason.STOP
    if is_complete and token_id in state.eos_token_ids:
        return FinishReason.STOP
    if len(sequence.token_ids) >= sequence.max_num_tokens:
        return FinishReason.STOP if is_complete else FinishReason.LENGTH
    return FinishReason.REPETITION if _is_stuck(sequence) else None


def _is_stuck(sequence: Sequence) -> bool:
    limits, num_output = sequence.sampling.repetition_detection, sequence.num_output_tokens
    if limits is None or num_output < sequence.sampling.min_tokens:
        return False
    return repeats(sequence.token_ids, num_output, limits)


def _may_stop(sequence: Sequence) -> bool:
    """Stop ids are banned while fewer than `min_tokens` were generated before, unless a grammar
    allowed nothing else."""
    is_guided = sequence.guide is not None
    return is_guided or sequence.num_output_tokens > sequence.sampling.min_tokens


def _end(
    state: SchedulerState,
    sequence: Sequence,
    reason: FinishReason,
    *,
    token_ids: tuple[int, ...] = (),
    logprobs: tuple[TokenLogprobs, ...] | None = None,
) -> TokenDelta:
    prompt_logprobs = None if sequence.prompt_scores is None else _take_scores(state, sequence)
    state.end(sequence)
    is_stop = reason is FinishReason.STOP
    return TokenDelta(
        request_id=sequence.request.request_id,
        sequence_index=sequence.sequence_index,
        token_ids=token_ids,
        logprobs=logprobs,
        prompt_logprobs=prompt_logprobs,
        finish_reason=reason,
        stop_token_id=_stop_token_id(state, sequence, token_ids) if is_stop else None,
        ends_in_text=is_stop and not (sequence.stop_ids | state.eos_token_ids) & set(token_ids),
        num_cached_tokens=sequence.num_cached_tokens,
        timings=_timings(sequence),
        num_preemptions=sequence.num_preemptions,
    )


def _stop_token_id(
    state: SchedulerState, sequence: Sequence, token_ids: tuple[int, ...]
) -> int | None:
    """The id, unless it stopped the sequence as the model's own end of sequence."""
    if not token_ids:
        return None
    sampling, token_id = sequence.sampling, token_ids[0]
    is_asked_for = token_id in sampling.stop_token_ids
    is_eos = token_id in state.eos_token_ids and not (sampling.ignore_eos and is_asked_for)
    return token_id if is_asked_for and not is_eos else None


def end_whole(state: SchedulerState, sequence: Sequence) -> TokenDelta:
    """End a live sequence with what it has, after which nothing may come."""
    return _end(state, sequence, FinishReason.STOP)


def end_with_error(
    state: SchedulerState, sequence: Sequence, error: ErrorInfo, now_s: float
) -> TokenDelta:
    """End a live sequence. What its own pages contain is not trusted any more.

    Args:
        now_s: kept as the time of its end when it has no token.
    """
    state.pages.distrust(sequence)
    state.end(sequence)
    sequence.last_token_s = sequence.last_token_s or now_s
    return TokenDelta(
        request_id=sequence.request.request_id,
        sequence_index=sequence.sequence_index,
        finish_reason=FinishReason.ERROR,
        error=error,
        num_cached_tokens=sequence.num_cached_tokens,
        timings=_timings(sequence),
        num_preemptions=sequence.num_preemptions,
    )


def _timings(sequence: Sequence) -> Timings:
    return Timings(
        sequence.queued_s, sequence.scheduled_s, sequence.first_token_s, sequence.last_token_s
    )


def _keep_scores(sequence: Sequence, row: PlannedRow, scores: Iterable[TokenLogprobs]) -> None:
    """Scores go to their positions, so computing some of them twice does no harm."""
    if sequence.prompt_scores is None:
        return
    first, last = row.start + 1, min(row.end + 1, sequence.num_prompt_tokens)
    for position, score in zip(range(first, last), scores, strict=True):
        sequence.prompt_scores[position] = score


def _take_scores(state: SchedulerState, sequence: Sequence) -> tuple[TokenLogprobs | None, ...]:
    """The scores still owed, once; its first delta carries them."""
    scores = sequence.prompt_scores
    assert scores is not None
    assert None not in scores[1:], "every position was scored before anything was sampled"
    state.settle_scores(sequence)
    return tuple(scores)
