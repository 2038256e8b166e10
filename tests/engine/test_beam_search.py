"""Beam search: against trying every continuation, and at its edges."""

from __future__ import annotations

import itertools
import math
from collections.abc import AsyncGenerator, Callable
from typing import Any

import numpy as np
import pytest

from engine.beam_search import beam_search
from engine.request import (
    ErrorInfo,
    FinishReason,
    GenerateRequest,
    Grammar,
    ModelInfo,
    SamplingParams,
    TokenDelta,
    TokenLogprobs,
)

VOCAB, EOS, PROMPT = 4, 0, (1, 2)
INFO = ModelInfo(
    architecture="llama", vocab_size=VOCAB, max_model_len=64, eos_token_ids=(EOS,),
    max_logprobs=20, max_num_seqs=4, fingerprint="f", dtype="float32", platform="cpu",
    device_kind="cpu", num_parameters=1, weight_bytes=4, num_pages=16, page_size=16,
)  # fmt: skip


def logprobs_after(token_ids: tuple[int, ...]) -> list[float]:
    rng = np.random.default_rng([7, *token_ids])
    logits = rng.normal(size=VOCAB) * 2
    return [float(x) for x in logits - math.log(np.exp(logits).sum())]


class TableEngine:
    """Its tokens' log-probabilities are a function of all tokens before."""

    def __init__(self, allowed: Callable[[tuple[int, ...]], set[int]] | None = None) -> None:
        """`allowed` is what a grammar lets follow an output, for requests that have one."""
        self.info = INFO
        self.allowed = allowed
        self.requests: list[GenerateRequest] = []
        self.fails_at = -1

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[list[TokenDelta], None]:
        self.requests.append(request)
        if len(self.requests) == self.fails_at:
            error = ErrorInfo("SequenceError", "broken")
            yield [TokenDelta(request_id=request.request_id, error=error,
                              finish_reason=FinishReason.ERROR)]  # fmt: skip
            return
        values = logprobs_after(request.prompt_token_ids)
        if self.allowed is not None:
            assert request.grammar is not None
            assert request.sampling.ranks_allowed
            num_prompt = len(request.prompt_token_ids) - request.num_continued_tokens
            allowed = self.allowed(request.prompt_token_ids[num_prompt:])
            values = [v if i in allowed else -math.inf for i, v in enumerate(values)]
        best = sorted(range(VOCAB), key=lambda i: -values[i])[: request.sampling.logprobs]
        top = TokenLogprobs(
            best[0], values[best[0]], 1, tuple(best), tuple(values[i] for i in best)
        )
        yield [TokenDelta(request_id=request.request_id, token_ids=(best[0],), logprobs=(top,),
                          finish_reason=FinishReason.LENGTH, num_cached_tokens=1)]  # fmt: skip


async def search(
    engine: Any,
    width: int,
    penalty: float = 1.0,
    grammar: Grammar | None = None,
    **sampling: Any,
) -> list[TokenDelta]:
    params = SamplingParams(**{"max_tokens": 3, "logprobs": 0, **sampling})
    request = GenerateRequest(
        request_id="r",
        prompt_token_ids=PROMPT,
        sampling=params,
        num_sequences=width,
        grammar=grammar,
    )
    (deltas,) = [each async for each in beam_search(engine, request, penalty)]
    return deltas


def every_continuation(length: int) -> dict[tuple[int, ...], tuple[float, int]]:
    """Total and counted length of all that end or are as long as allowed."""
    found: dict[tuple[int, ...], tuple[float, int]] = {}
    for size in range(1, length + 1):
        for ids in itertools.product(range(VOCAB), repeat=size):
            if EOS in ids[:-1] or (size < length and ids[-1] != EOS):
                continue
            total = sum(logprobs_after((*PROMPT, *ids[:i]))[ids[i]] for i in range(size))
            found[ids] = (total, len(PROMPT) + size - (ids[-1] == EOS))
    return found


@pytest.mark.parametrize("penalty", [0.0, 0.5, 1.0, 2.0, -1.0])
async def test_wide_beams_find_what_trying_everything_finds(penalty: float) -> None:
    width = 10  # 2 * width exceeds the vocabulary, and 3 rounds of it every continuation's rank
    deltas = await search(TableEngine(), width, penalty)
    scores = {ids: total / n**penalty for ids, (total, n) in every_continuation(3).items()}
    best = sorted(scores, key=lambda ids: scores[ids], reverse=True)[:width]
    assert [delta.token_ids for delta in deltas][:3] == best[:3]
    assert [delta.sequence_index for delta in deltas] == list(range(width))


async def test_one_beam_is_greedy(request: Any) -> None:
    (delta,) = await search(TableEngine(), 1, ignore_eos=True)
    ids: tuple[int, ...] = ()
    for _ in range(3):
        values = logprobs_after((*PROMPT, *ids))
        ids = (*ids, values.index(max(values)))
    assert (delta.token_ids, delta.finish_reason) == (ids, FinishReason.LENGTH)


async def test_logprobs_are_those_of_the_tokens_chosen() -> None:
    for delta in await search(TableEngine(), 3, logprobs=2):
        assert delta.logprobs is not None
        for position, entry in enumerate(delta.logprobs):
            values = logprobs_after((*PROMPT, *delta.token_ids[:position]))
            assert entry.token_id == delta.token_ids[position]
            assert entry.logprob == pytest.approx(values[entry.token_id])
            assert entry.rank == 1 + sum(v > values[entry.token_id] for v in values)
            assert len(entry.top_token_ids) == 2


async def test_nothing_ends_before_min_tokens() -> None:
    deltas = await search(TableEngine(), 4, min_tokens=2)
    assert all(EOS not in delta.token_ids[:2] for delta in deltas)


async def test_a_stop_token_ends_and_is_named() -> None:
    deltas = await search(TableEngine(), 4, ignore_eos=True, stop_token_ids=(3,))
    ended = [delta for delta in deltas if delta.finish_reason is FinishReason.STOP]
    assert ended
    assert all(delta.token_ids[-1] == delta.stop_token_id == 3 for delta in ended)


async def test_a_round_that_fails_ends_every_sequence_with_its_error() -> None:
    engine = TableEngine()
    engine.fails_at = 3
    deltas = await search(engine, 2)
    assert [(d.request_id, d.sequence_index) for d in deltas] == [("r", 0), ("r", 1)]
    assert all(delta.error is not None for delta in deltas)


async def test_requests_share_salt_and_priority_and_have_ids_of_their_own() -> None:
    engine = TableEngine()
    params = SamplingParams(max_tokens=3)
    request = GenerateRequest(
        request_id="r", prompt_token_ids=PROMPT, sampling=params, num_sequences=2,
        cache_salt="s", priority=3,
    )  # fmt: skip
    assert [each async for each in beam_search(engine, request, 1.0)]
    assert len({each.request_id for each in engine.requests}) == len(engine.requests)
    assert {(each.cache_salt, each.priority) for each in engine.requests} == {("s", 3)}


def one_then_twos(output: tuple[int, ...]) -> set[int]:
    """The grammar 1 2? 3 in token ids."""
    after = {(): {1}, (1,): {2, 3}, (1, 2): {3}, (1, 3): {EOS}, (1, 2, 3): {EOS}}
    return after[output]


GRAMMAR = Grammar(source="1 2? 3")


async def test_beams_keep_to_a_grammar_and_are_given_again_where_it_has_no_more() -> None:
    deltas = await search(TableEngine(one_then_twos), 3, grammar=GRAMMAR, max_tokens=4)
    outputs = [delta.token_ids for delta in deltas]
    assert set(outputs) == {(1, 3, EOS), (1, 2, 3, EOS)}
    assert outputs[2] == outputs[0]
    assert {delta.finish_reason for delta in deltas} == {FinishReason.STOP}
    for delta in deltas:
        for position, entry in enumerate(delta.logprobs or ()):
            values = logprobs_after((*PROMPT, *delta.token_ids[:position]))
            assert entry.logprob == pytest.approx(values[entry.token_id])


@pytest.mark.parametrize("ignore_eos", [False, True])
async def test_a_complete_output_ends_also_where_it_is_cut(ignore_eos: bool) -> None:
    engine = TableEngine(one_then_twos)
    deltas = await search(engine, 2, grammar=GRAMMAR, max_tokens=2, ignore_eos=ignore_eos)
    ends = {delta.token_ids: delta.finish_reason for delta in deltas}
    assert ends == {(1, 3): FinishReason.STOP, (1, 2): FinishReason.LENGTH}


async def test_what_is_whole_comes_before_what_breaks_off() -> None:
    def any_ones_or_end(output: tuple[int, ...]) -> set[int]:
        return {EOS} if output[-1:] == (2,) else {1, 2}

    deltas = await search(TableEngine(any_ones_or_end), 4, grammar=GRAMMAR, max_tokens=4)
    is_whole = [delta.finish_reason is FinishReason.STOP for delta in deltas]
    assert is_whole == sorted(is_whole, reverse=True)
    assert any(is_whole)


async def test_alternatives_that_are_not_allowed_are_not_shown() -> None:
    for delta in await search(TableEngine(one_then_twos), 2, grammar=GRAMMAR, logprobs=3):
        for entry in delta.logprobs or ():
            assert all(value > -math.inf for value in entry.top_logprobs)
