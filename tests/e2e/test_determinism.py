"""Promise 3: same request, same bytes. Token ids and logprobs are compared bit by bit (R15)."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from engine.llm import LLM
from engine.outputs import RequestOutput
from engine.request import SamplingParams

Answer = tuple[tuple[int, ...], tuple[object, ...]]
Cases = list[tuple[list[int], SamplingParams]]

GREEDY = SamplingParams(max_tokens=24, temperature=0, logprobs=2, ignore_eos=True)
SAMPLED = SamplingParams(
    max_tokens=24,
    temperature=0.9,
    top_p=0.95,
    top_k=50,
    repetition_penalty=1.1,
    presence_penalty=0.2,
    seed=11,
    logprobs=2,
    ignore_eos=True,
)
PLAIN_GREEDY = SamplingParams(max_tokens=24, temperature=0, ignore_eos=True)


def prompt(name: int, length: int) -> list[int]:
    generator = random.Random(name)
    return [generator.randrange(3, 512) for _ in range(length)]


CASES: Cases = [
    (prompt(1, 1), GREEDY),
    (prompt(2, 7), SAMPLED),
    (prompt(3, 16), PLAIN_GREEDY),
    (prompt(4, 33), GREEDY),
    (prompt(5, 90), SAMPLED),
    (prompt(6, 150), GREEDY),
]
NEIGHBOURS: Cases = [
    (prompt(100 + index, 5 + 7 * index % 60), (GREEDY, SAMPLED, PLAIN_GREEDY)[index % 3])
    for index in range(26)
]


def answer(output: RequestOutput) -> Answer:
    completion = output.outputs[0]
    return tuple(completion.token_ids), tuple(completion.logprobs or ())


def ask(llm: LLM, cases: Cases) -> list[Answer]:
    outputs = llm.generate([ids for ids, _ in cases], [sampling for _, sampling in cases])
    return [answer(output) for output in outputs]


KINDS = [
    pytest.param({"dtype": "bfloat16"}, id="bfloat16"),
    # A CPU with few slots keeps the weights in bfloat16 and multiplies as few as 2 rows.
    pytest.param({"dtype": "bfloat16", "max_num_seqs": 8}, id="bfloat16-few-slots"),
    pytest.param({"dtype": "float32"}, id="float32"),
    pytest.param(
        {"dtype": "bfloat16", "kv_cache_dtype": "fp8"}, id="fp8-pages", marks=pytest.mark.slow
    ),
]


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> dict[str, Any]:
    return request.param


@pytest.fixture(scope="module")
def llm(make_llm: Callable[..., LLM], kind: dict[str, Any]) -> Iterator[LLM]:
    with make_llm(**kind) as made:
        yield made


@pytest.fixture(scope="module")
def alone(make_llm: Callable[..., LLM], kind: dict[str, Any]) -> list[Answer]:
    """Each case by itself, in an engine of its own that has no prefix cache."""
    with make_llm(**kind, enable_prefix_caching=False) as made:
        return [ask(made, [case])[0] for case in CASES]


def test_answers_are_whole_and_differ(alone: list[Answer]) -> None:
    assert [len(tokens) for tokens, _ in alone] == [24] * len(CASES)
    assert len({tokens for tokens, _ in alone}) == len(CASES)


def test_a_batch_of_32_gives_the_same_bytes(llm: LLM, alone: list[Answer]) -> None:
    assert ask(llm, CASES + NEIGHBOURS)[: len(CASES)] == alone


def test_a_warm_cache_gives_the_same_bytes(llm: LLM, alone: list[Answer]) -> None:
    ask(llm, CASES)
    hits_before = llm.stats.total_prefix_hits
    assert ask(llm, CASES) == alone
    assert llm.stats.total_prefix_hits > hits_before


def test_shuffling_gives_the_same_bytes(llm: LLM, alone: list[Answer]) -> None:
    order = list(range(len(CASES))) * 4
    random.Random(0).shuffle(order)
    answers = ask(llm, [CASES[index] for index in order])
    assert answers == [alone[index] for index in order]


def test_neighbours_that_are_aborted_change_nothing(llm: LLM, alone: list[Answer]) -> None:
    # "<w" begins every word: the neighbours are stopped and aborted after their first token.
    prompts = [ids for ids, _ in NEIGHBOURS]
    builders = llm.generate(prompts, [sampling for _, sampling in NEIGHBOURS], stop=["<w"])
    assert all(len(output.outputs[0].token_ids) == 1 for output in builders)
    assert ask(llm, CASES) == alone


@pytest.mark.parametrize("chunk", [3, 16, 70])
def test_chunks_of_any_size_give_the_same_bytes(
    make_llm: Callable[..., LLM], kind: dict[str, Any], alone: list[Answer], chunk: int
) -> None:
    # Also before the larger steps are compiled: everything goes through the smallest.
    with make_llm(is_compiled=False, **kind, prefill_chunk_tokens=chunk) as chunked:
        assert ask(chunked, CASES + NEIGHBOURS[:6])[: len(CASES)] == alone


def test_preemption_gives_the_same_bytes(
    make_llm: Callable[..., LLM], kind: dict[str, Any], alone: list[Answer]
) -> None:
    with make_llm(**kind, num_gpu_blocks_override=26) as crowded:
        assert ask(crowded, CASES + NEIGHBOURS)[: len(CASES)] == alone
        assert crowded.stats.total_preemptions > 0


def test_prompt_scores_do_not_depend_on_the_batch(llm: LLM) -> None:
    scored = SamplingParams(max_tokens=1, temperature=0, prompt_logprobs=2)
    one = llm.generate([CASES[5][0]], scored)[0].prompt_logprobs
    many = llm.generate([ids for ids, _ in (*CASES, *NEIGHBOURS)], scored)[5].prompt_logprobs
    assert one == many
    assert one is not None
    assert len(one) == 150


def test_nothing_was_compiled_after_ready(llm: LLM) -> None:
    assert llm.stats.total_compilations_after_ready == 0
