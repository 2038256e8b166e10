"""Every token is counted exactly once: what usages say is what the counters say."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest

from api.errors import APIError
from api.keys.accounts import UsageRecord
from api.keys.tenant import ANYONE
from engine.errors import EngineDiedError, OverloadedError
from engine.request import ErrorInfo, FinishReason, TokenDelta
from engine.scheduler.settling import INVALID_RESULT

LABELS = 'engine="0",model_name="test-model"'


def counted(speaker, name: str) -> float:
    text = speaker.context.metrics.exposition().decode()
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    values = {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in lines}
    return values[f"vllm:{name}{{{LABELS}}}"]


def failing(error: ErrorInfo | None) -> TokenDelta:
    return TokenDelta(request_id="r", finish_reason=FinishReason.ERROR, error=error)


async def test_the_sum_of_usages_is_what_the_counters_say(speaking):
    speaker = speaking("hello world, hello there", "one two three")
    speaker.engine.tokens_per_delta = 5  # a stop string cuts within what came at once
    answers = await asyncio.gather(
        speaker.complete("one two", max_tokens=50, stop=["wor"]),
        speaker.complete("one two", max_tokens=50, stop=[" two", "wor"], n=2),
        speaker.complete(["one", "two two"], max_tokens=3),
        speaker.complete("hello", max_tokens=50, best_of=2, n=1, stop=["lo"]),
        speaker.chat("hi", max_tokens=50, stop=["there"], include_stop_str_in_output=True),
    )
    events = await speaker.complete_stream(
        "three", max_tokens=50, stop=["lo w"], stream_options={"include_usage": True}
    )
    usages = [answer["usage"] for answer in answers] + [events[-2]["usage"]]
    prompt = sum(usage["prompt_tokens"] for usage in usages)
    generated = sum(usage["completion_tokens"] for usage in usages)
    cached = sum(usage["prompt_tokens_details"]["cached_tokens"] for usage in usages)
    assert counted(speaker, "prompt_tokens_total") == prompt
    assert counted(speaker, "request_prompt_tokens_sum") == prompt
    assert counted(speaker, "generation_tokens_total") == generated
    assert counted(speaker, "request_generation_tokens_sum") == generated
    assert counted(speaker, "prompt_tokens_cached_total") == cached


async def test_an_answer_that_is_left_in_the_middle_counts_what_it_gave(speaking):
    speaker = speaking("hello world, hello there")
    answer = await speaker.chat_answer("hi", stream=True, max_tokens=50)
    await anext(answer.events)
    await answer.events.aclose()
    given = counted(speaker, "generation_tokens_total")
    assert 1 <= given < 20
    assert counted(speaker, "request_generation_tokens_sum") == given
    assert counted(speaker, "prompt_tokens_total") > 0


async def test_a_request_the_engine_refuses_counts_no_tokens(speaking):
    speaker = speaking("hello")
    speaker.engine.failure = OverloadedError("full")
    with pytest.raises(OverloadedError):
        await speaker.complete("one two")
    assert counted(speaker, "prompt_tokens_total") == 0
    assert counted(speaker, "request_prompt_tokens_count") == 0


async def test_invalid_logits_are_counted_and_logged_with_the_request(speaking, caplog):
    speaker = speaking("hello")
    speaker.engine.bad_delta = failing(INVALID_RESULT)
    with pytest.raises(APIError) as caught:
        await speaker.chat("hi")
    assert caught.value.status == 500
    assert INVALID_RESULT.message not in caught.value.message
    assert counted(speaker, "corrupted_requests_total") == 1
    [record] = [record for record in caplog.records if record.levelname == "WARNING"]
    assert "SequenceError" in record.getMessage()
    assert speaker.engine.requests[0].request_id in record.getMessage()


@pytest.mark.parametrize("error", [None, ErrorInfo("SequenceError", "a fault in the step")])
async def test_other_failures_of_a_sequence_are_logged_too(speaking, caplog, error):
    speaker = speaking("hello")
    speaker.engine.bad_delta = failing(error)
    with pytest.raises(APIError):
        await speaker.complete("one")
    assert counted(speaker, "corrupted_requests_total") == 0
    assert any("failed" in record.getMessage() for record in caplog.records)


async def test_a_refusal_of_minus_one_says_what_was_sent(speaking):
    speaker = speaking("hello")
    for fields, param in (
        ({"logprobs": -1}, "logprobs"),
        ({"prompt_logprobs": -1}, "prompt_logprobs"),
    ):
        with pytest.raises(Exception, match="but got -1 instead") as caught:
            await speaker.complete("one", **fields)
        assert caught.value.param == param
    with pytest.raises(Exception, match="but got -1 instead") as caught:
        await speaker.chat("one", logprobs=True, top_logprobs=-1)
    assert caught.value.param == "top_logprobs"


class Kept:
    """A ledger's writer in memory."""

    def __init__(self) -> None:
        self.records: list[UsageRecord] = []

    async def write(self, records: list[UsageRecord]) -> None:
        self.records += records


async def ledger_of(speaker) -> list[UsageRecord]:
    kept = Kept()
    speaker.context.accounts.ledger.attach(kept)
    await speaker.context.accounts.ledger.flush()
    return kept.records


async def test_the_ledger_is_what_the_counters_say_also_for_what_went_wrong(speaking):
    speaker = speaking("hello world, hello there", "one two three")
    speaker.context.accounts.ledger.expect()
    await speaker.complete("one two", max_tokens=50, stop=["wor"], n=2)
    await speaker.complete(["one", "two two"], max_tokens=3)
    await speaker.chat_stream("hi", max_tokens=5)
    left = await speaker.chat_answer("hi", stream=True, max_tokens=50)
    await anext(left.events)
    await left.events.aclose()
    speaker.engine.failure = OverloadedError("full")
    with pytest.raises(OverloadedError):
        await speaker.complete("one two")
    speaker.engine.failure, speaker.engine.failure_after = EngineDiedError("gone"), 3
    with pytest.raises(EngineDiedError):
        await speaker.complete("one two")
    records = await ledger_of(speaker)
    assert len({record.id for record in records}) == len(records) == 7
    assert sum(r.num_prompt_tokens for r in records) == counted(speaker, "prompt_tokens_total")
    assert sum(r.num_cached_tokens for r in records) == counted(
        speaker, "prompt_tokens_cached_total"
    )
    generated = sum(record.num_generated_tokens for record in records)
    assert generated == counted(speaker, "generation_tokens_total") > 0
    outcomes = [record.outcome for record in records]
    assert outcomes == ["stop", "length", "length", "length", "abort", "rejected", "error"]
    assert [r.num_generated_tokens > 0 for r in records[-3:]] == [True, False, True]


@pytest.mark.parametrize("is_live", [True, False])
async def test_leaving_before_the_first_token_is_not_free(speaking, is_live):
    speaker = speaking("hello")
    speaker.context.accounts.ledger.expect()
    tenant = dataclasses.replace(ANYONE, is_metered=is_live)
    live = dataclasses.replace(speaker, context=speaker.context.for_tenant(tenant))
    speaker.engine.waits_forever = True
    left = asyncio.create_task(live.complete("one two"))
    await speaker.engine.began.wait()
    left.cancel()
    await asyncio.gather(left, return_exceptions=True)
    [record] = await ledger_of(speaker)
    num_prompt_tokens = len(speaker.engine.requests[0].prompt_token_ids)
    assert record.outcome == "abort"
    assert record.num_prompt_tokens == (num_prompt_tokens if is_live else 0)
    assert counted(speaker, "prompt_tokens_total") == record.num_prompt_tokens


async def test_prompts_that_end_because_another_one_failed_are_not_paid_for(speaking):
    speaker = speaking("hello")
    speaker.context.accounts.ledger.expect()
    generate, waiting = speaker.engine.generate, asyncio.Event()

    def refuse_the_second(request):
        if speaker.engine.requests:
            waiting.set()
            speaker.engine.waits_forever = False
            speaker.engine.failure = OverloadedError("full")
        else:
            speaker.engine.waits_forever = True
        return generate(request)

    speaker.engine.generate = refuse_the_second
    with pytest.raises(OverloadedError):
        await speaker.complete(["one", "two"])
    assert waiting.is_set()
    records = await ledger_of(speaker)
    assert {record.outcome for record in records} == {"rejected", "abort"}
    assert [record.num_prompt_tokens for record in records] == [0, 0]
