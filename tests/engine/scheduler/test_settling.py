"""How sequences end, and what their deltas say."""

from __future__ import annotations

from typing import Any

import pytest

from engine.errors import ContextLengthError, InvalidParameterError, OverloadedError
from engine.request import ErrorInfo, FinishReason, TokenLogprobs
from engine.scheduler.plan import RowResult

EOS = 7


def give(world: Any, *token_ids: int, request_id: str = "a") -> Any:
    """Steps of one sequence whose device says exactly these tokens; its stream."""
    for token_id in token_ids:
        plan = world.scheduler.schedule(world.limits)
        world.deliver(world.scheduler.settle(plan, [RowResult(token_id)]))
    return world.streams[request_id, 0]


def test_an_end_of_sequence_token_stops(make_world: Any) -> None:
    world = make_world()
    world.add("a", [1], ignore_eos=False)
    stream = give(world, 3, EOS)
    assert stream.token_ids == [3, EOS]
    assert (stream.last.finish_reason, stream.last.stop_token_id) == (FinishReason.STOP, None)


def test_an_ignored_end_of_sequence_token_does_not_stop(make_world: Any) -> None:
    world = make_world()
    world.add("a", [1], max_tokens=3)
    assert give(world, EOS, EOS).last.finish_reason is None


def test_a_stop_token_is_named(make_world: Any) -> None:
    world = make_world()
    world.add("a", [1], stop_token_ids=(5, EOS))
    stream = give(world, 5)
    assert (stream.last.finish_reason, stream.last.stop_token_id) == (FinishReason.STOP, 5)


def test_an_ignored_end_of_sequence_token_asked_for_as_stop_is_named(make_world: Any) -> None:
    world = make_world()
    world.add("a", [1], stop_token_ids=(EOS,))
    assert give(world, EOS).last.stop_token_id == EOS


def test_nothing_stops_before_min_tokens(make_world: Any) -> None:
    world = make_world()
    world.add("a", [1], stop_token_ids=(5,), min_tokens=2)
    assert give(world, 5, 5).last.finish_reason is None
    assert give(world, 5).last.finish_reason is FinishReason.STOP


def test_max_tokens_ends_with_length(make_world: Any) -> None:
    world = make_world()
    world.add("a", [1], max_tokens=2)
    assert give(world, 3, 3).last.finish_reason is FinishReason.LENGTH


def test_the_context_ends_with_length(make_world: Any) -> None:
    world = make_world(max_model_len=6)
    world.add("a", range(4), max_tokens=50)
    stream = give(world, 3, 3)
    assert (stream.last.finish_reason, len(stream.token_ids)) == (FinishReason.LENGTH, 2)


def test_the_result_after_a_stop_is_dropped(make_world: Any) -> None:
    world = make_world()
    world.add("a", [1], ignore_eos=False, max_tokens=9)
    first = world.scheduler.schedule(world.limits)
    second = world.scheduler.schedule(world.limits)
    assert world.scheduler.settle(first, [RowResult(EOS)])[0].finish_reason is FinishReason.STOP
    assert world.scheduler.settle(second, [RowResult(3)]) == []
    assert world.scheduler.stats().total_generated_tokens == 1


def test_the_first_and_the_last_delta_have_timings_and_no_other(make_world: Any) -> None:
    world = make_world()
    world.add("a", [1], max_tokens=3)
    first, middle, last = world.run().streams["a", 0].deltas
    assert middle.timings is None
    assert first.timings.first_token_s == first.timings.last_token_s
    times = last.timings
    assert 0 < times.queued_s < times.scheduled_s < times.first_token_s < times.last_token_s


def test_logprobs_come_with_their_token(make_world: Any) -> None:
    world = make_world()
    world.add("a", [1], logprobs=0, max_tokens=1)
    plan = world.scheduler.schedule(world.limits)
    logprobs = TokenLogprobs(3, -0.5, 1, (), ())
    (delta,) = world.scheduler.settle(plan, [RowResult(3, logprobs=logprobs)])
    assert delta.logprobs == (logprobs,)


def test_an_invalid_row_ends_its_sequence_alone(make_world: Any) -> None:
    world = make_world()
    world.add("a", range(9))
    world.add("b", [1, 2])
    world.device.invalid.add(("a", 1))
    world.run()
    last = world.streams["a", 0].last
    assert (last.finish_reason, last.error.kind) == (FinishReason.ERROR, "SequenceError")
    world.verify_stream("b")


def test_pages_of_an_invalid_sequence_are_not_reused(make_world: Any) -> None:
    world = make_world(prefill_chunk_tokens=4)
    world.add("a", range(9))
    world.device.invalid.add(("a", 0))
    world.run()
    world.add("b", range(9))
    assert world.launch().rows[0].start == 0


def test_a_failed_step_ends_the_sequences_of_its_rows(make_world: Any) -> None:
    world = make_world()
    world.add("a", [1])
    world.launch()
    world.add("b", [2])
    deltas = world.fail(ErrorInfo("SequenceError", "broken"))
    assert [(delta.request_id, delta.error.message) for delta in deltas] == [("a", "broken")]
    world.run()
    world.verify_stream("b")


def test_only_the_named_rows_fail(make_world: Any) -> None:
    world = make_world()
    world.add("a", [1])
    world.add("b", [2])
    plan = world.launch()
    deltas = world.scheduler.fail_rows(plan, ErrorInfo("SequenceError", "broken"), rows=[1])
    assert [delta.request_id for delta in deltas] == ["b"]
    world.run()
    world.verify_stream("a")


def test_an_abort_frees_pages_at_once_and_says_nothing(make_world: Any) -> None:
    world = make_world()
    world.add("a", range(9))
    world.launch()
    world.scheduler.abort("a")
    stats = world.scheduler.stats()
    assert stats.num_free_pages == stats.num_pages
    assert world.settle() == []
    assert not world.scheduler.has_work()


def test_one_sequence_of_a_request_can_be_aborted(make_world: Any) -> None:
    world = make_world()
    world.add("a", [1], n=2)
    world.launch()
    world.scheduler.abort("a", (1,))
    world.run()
    world.verify_stream("a", 0)
    assert world.streams["a", 1].deltas == []


def test_aborting_what_is_not_there_does_nothing(make_world: Any) -> None:
    make_world().scheduler.abort("nobody")


def test_a_full_queue_refuses(make_world: Any) -> None:
    world = make_world(max_num_seqs=1, max_num_queued_requests=1)
    world.add("a", [1])
    world.add("b", [1])
    with pytest.raises(OverloadedError):
        world.add("c", [1])
    world.run()
    world.add("c", [1])


def test_a_request_that_finds_nobody_is_never_refused(make_world: Any) -> None:
    world = make_world(max_num_seqs=1, max_num_queued_requests=1)
    world.add("a", [1], n=5)
    world.run()
    world.verify_stream("a", 4)


def test_the_queue_counts_requests_and_not_their_sequences(make_world: Any) -> None:
    world = make_world(max_num_seqs=1, max_num_queued_requests=1)
    world.add("a", [1], n=5)
    world.add("b", [1], n=5)
    with pytest.raises(OverloadedError):
        world.add("c", [1])
    world.run()
    world.verify_stream("b", 4)


@pytest.mark.parametrize(
    ("prompt", "sampling", "error"),
    [
        ([], {}, InvalidParameterError),
        ([1] * 32, {}, ContextLengthError),
        ([1] * 33, {"max_tokens": 0}, ContextLengthError),
        ([1] * 10, {"max_tokens": 22}, ContextLengthError),
    ],
)
def test_what_can_never_run_is_refused(
    make_world: Any, prompt: list[int], sampling: dict[str, int], error: type[Exception]
) -> None:
    world = make_world(max_model_len=32, num_pages=8)
    with pytest.raises(error):
        world.add("a", prompt, **sampling)
    assert not world.scheduler.has_work()


def test_an_id_in_use_is_refused(make_world: Any) -> None:
    world = make_world()
    world.add("a", [1])
    with pytest.raises(InvalidParameterError):
        world.add("a", [1])


def test_a_prompt_is_counted_once_whatever_happens_to_it(make_world: Any) -> None:
    world = make_world(num_pages=7, max_model_len=24)
    world.add("a", range(8), max_tokens=12, n=2)
    world.run()
    stats = world.scheduler.stats()
    assert stats.total_preemptions > 0
    assert stats.total_prompt_tokens == 8
    assert stats.total_generated_tokens == 24


def test_hits_count_tokens_once_per_request(make_world: Any) -> None:
    world = make_world()
    world.add("a", range(9))
    world.run()
    world.add("b", range(9), n=2)
    world.run()
    stats = world.scheduler.stats()
    assert (stats.total_prompt_tokens, stats.total_cached_tokens) == (18, 8)
    assert (stats.total_prefix_queries, stats.total_prefix_hits) == (27, 16)


class Complete:
    """A guide whose output is complete with whatever comes."""

    is_complete = True

    def accept(self, token_ids: list[int]) -> None:
        """Allow it."""


def test_a_complete_output_that_fills_its_room_ends_in_text(make_world: Any) -> None:
    world = make_world()
    (sequence,) = world.add("a", [1], max_tokens=2)
    sequence.guide = Complete()
    last = give(world, 3, 4).last
    assert (last.finish_reason, last.ends_in_text) == (FinishReason.STOP, True)
    world.add("b", [1], ignore_eos=False)
    assert not give(world, EOS, request_id="b").last.ends_in_text


class TooComplex(Complete):
    """A guide that cannot go on."""

    def accept(self, token_ids: list[int]) -> None:
        """Refuse as a grammar beyond the caps does."""
        raise InvalidParameterError("Too complex.", param="guided_regex", code="invalid_grammar")


def test_a_grammar_that_cannot_go_on_is_the_requests_fault(make_world: Any) -> None:
    world = make_world()
    (sequence,) = world.add("a", [1])
    sequence.guide = TooComplex()
    error = give(world, 3).last.error
    assert error is not None
    assert (error.kind, error.param) == ("InvalidParameterError", "guided_regex")
