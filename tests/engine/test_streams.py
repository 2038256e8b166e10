from __future__ import annotations

import asyncio
import tracemalloc

import msgspec
import pytest

from engine.errors import EngineDiedError, OverloadedError
from engine.request import ErrorInfo, FinishReason, Timings, TokenDelta, TokenLogprobs
from engine.streams import PATIENT_TOKENS, RequestStream


def delta(*token_ids, sequence_index=0, **fields):
    return TokenDelta(request_id="r", sequence_index=sequence_index, token_ids=token_ids, **fields)


@pytest.fixture
async def stream(make_request):
    return RequestStream(make_request("r", num_sequences=2))


async def test_deltas_of_a_sequence_are_merged_while_they_wait(stream):
    score = TokenLogprobs(1, -0.5, 1, (), ())
    stream.push(delta(1, logprobs=(score,), num_cached_tokens=4))
    stream.push(delta(9, sequence_index=1))
    stream.push(delta(2, logprobs=(score,), finish_reason=FinishReason.LENGTH))
    first, second = await stream.take()
    assert first.token_ids == (1, 2)
    assert first.logprobs == (score, score)
    assert first.num_cached_tokens == 4
    assert first.finish_reason is FinishReason.LENGTH
    assert second.token_ids == (9,)
    assert second.logprobs is None


async def test_times_of_the_first_token_outlast_later_deltas(stream):
    times = Timings(1.0, 2.0, 3.0, 3.0)
    stream.push(delta(1, timings=times))
    stream.push(delta(2))
    (first,) = await stream.take()
    assert first.timings == times


async def test_a_reader_who_can_wait_is_woken_for_many_tokens_or_the_end(make_request):
    request = msgspec.structs.replace(make_request("r", num_sequences=1), can_wait=True)
    stream = RequestStream(request)
    reader = asyncio.create_task(stream.take())
    for token_id in range(PATIENT_TOKENS - 1):
        stream.push(delta(token_id))
        await asyncio.sleep(0)
    assert not reader.done()
    stream.push(delta(99))
    assert [len(each.token_ids) for each in await reader] == [PATIENT_TOKENS]
    stream.push(delta(1, finish_reason=FinishReason.LENGTH))
    assert [each.token_ids for each in await stream.take()] == [(1,)]


async def test_a_reader_waits_for_news(stream):
    reader = asyncio.create_task(stream.take())
    await asyncio.sleep(0)
    assert not reader.done()
    stream.push(delta(1))
    assert [each.token_ids for each in await reader] == [(1,)]


async def test_it_is_exhausted_when_all_has_ended_and_was_read(stream):
    for sequence_index in range(2):
        stream.push(delta(1, sequence_index=sequence_index, finish_reason=FinishReason.STOP))
    assert not stream.is_open
    assert not stream.is_exhausted
    await stream.take()
    assert stream.is_exhausted


async def test_a_refusal_is_raised(stream):
    error = ErrorInfo("OverloadedError", "full", retry_after_s=2.0)
    stream.push(delta(finish_reason=FinishReason.ERROR, error=error))
    with pytest.raises(OverloadedError) as caught:
        await stream.take()
    assert caught.value.retry_after_s == 2.0
    assert stream.is_exhausted


async def test_an_error_after_tokens_is_a_delta(stream):
    stream.push(delta(1))
    stream.fail(ErrorInfo("EngineDiedError", "gone"))
    first, second = await stream.take()
    assert first.token_ids == (1,)
    assert first.finish_reason is second.finish_reason is FinishReason.ERROR
    assert stream.is_exhausted


async def test_an_end_before_any_token_is_raised(stream):
    stream.fail(ErrorInfo("EngineDiedError", "gone"))
    with pytest.raises(EngineDiedError):
        await stream.take()


async def test_an_ended_sequence_gains_nothing_more(stream):
    stream.push(delta(1, finish_reason=FinishReason.STOP))
    stream.push(delta(2))
    assert [each.token_ids for each in await stream.take()] == [(1,)]


async def test_a_reader_of_dropped_sequences_ends(stream):
    stream.drop_sequences(())
    assert await stream.take() == []
    assert stream.is_exhausted


async def test_ten_thousand_unread_tokens_take_less_than_64_kilobytes(stream):
    tracemalloc.start()
    for number in range(10_000):
        stream.push(delta(1000 + number))
    size_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size_bytes < 64 << 10
