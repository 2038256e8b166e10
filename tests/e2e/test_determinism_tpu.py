"""What of promise 3 holds with the attention kernel of TPUs, run by Pallas' interpreter.

A row of one token goes through the kernel in blocks of rows, a row of several in tiles of tokens,
and the two sum in different orders. So a token's float32 logits differ in their last bits when it
was computed in the other way (another chunk, another cached prefix, recomputed after preemption):

    the same request, alone, twice                tokens and logprobs bit-equal
    in a batch, chunked, preempted, cached        tokens equal, logprobs within TOLERANCE
    the engine with the attention of CPUs         tokens equal, logprobs within TOLERANCE

"Tokens equal" is what these cases show, not a promise: two tokens whose logits are closer than
the tolerance may change places.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable

import pytest

from bench.random_model import LlamaShape, make_llama
from engine.llm import LLM
from engine.request import SamplingParams
from engine.runner import arguments
from pallas_kernels.paged_attention import Choice

TOLERANCE = 1e-5
TINY = LlamaShape(
    d_model=32,
    num_layers=2,
    num_heads=4,
    num_kv_heads=2,
    d_ff=48,
    vocab_size=128,
    max_position_embeddings=64,
    weight_std=0.3,
)
GREEDY = SamplingParams(max_tokens=16, temperature=0, logprobs=1, ignore_eos=True)
SAMPLED = SamplingParams(
    max_tokens=16, temperature=0.9, top_p=0.9, seed=5, logprobs=1, ignore_eos=True
)
Cases = list[tuple[list[int], SamplingParams]]


@dataclasses.dataclass(frozen=True)
class Answer:
    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]


def prompt(name: int, length: int) -> list[int]:
    generator = random.Random(name)
    return [generator.randrange(3, 128) for _ in range(length)]


CASES: Cases = [
    (prompt(1, 1), GREEDY),
    (prompt(2, 7), SAMPLED),
    (prompt(3, 17), GREEDY),
    (prompt(4, 40), SAMPLED),
]
NEIGHBOURS: Cases = [
    (prompt(50 + index, 3 + 5 * index % 30), (GREEDY, SAMPLED)[index % 2]) for index in range(6)
]


def ask(llm: LLM, cases: Cases) -> list[Answer]:
    outputs = llm.generate([ids for ids, _ in cases], [sampling for _, sampling in cases])
    completions = [output.outputs[0] for output in outputs]
    return [
        Answer(tuple(one.token_ids), tuple(score.logprob for score in one.logprobs or ()))
        for one in completions
    ]


def assert_close(found: list[Answer], expected: list[Answer]) -> None:
    for one, other in zip(found, expected, strict=True):
        assert one.tokens == other.tokens
        assert one.logprobs == pytest.approx(other.logprobs, abs=TOLERANCE)


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., LLM]:
    folder = make_llama(tmp_path_factory.mktemp("models") / "tiny", TINY)
    cache = tmp_path_factory.mktemp("cache")

    def load(kind: str = "tpu", *, is_compiled: bool = False, **options: object) -> LLM:
        defaults = {
            "dtype": "float32",
            "block_size": 8,
            "max_num_seqs": 8,
            "max_num_batched_tokens": 64,
            "max_logprobs": 1,
            "check_invariants": True,
            "compile_cache_dir": str(cache),
        }
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(arguments, "choose", lambda *_: Choice(kind))
            llm = LLM(str(folder), **{**defaults, **options})
        if is_compiled:
            llm.wait_until_compiled()
        return llm

    return load


@pytest.fixture(
    scope="module",
    params=[False, pytest.param(True, marks=pytest.mark.slow)],
    ids=["first-step", "all-steps"],
)
def is_compiled(request: pytest.FixtureRequest) -> bool:
    """Whether all steps are there; before that nearly all goes through the smallest mixed one."""
    return request.param


@pytest.fixture(scope="module")
def alone(make: Callable[..., LLM], is_compiled: bool) -> list[Answer]:
    """Each case by itself, without a prefix cache; asked twice, it is bit-equal."""
    with make(is_compiled=is_compiled, enable_prefix_caching=False) as llm:
        once, again = ([ask(llm, [case])[0] for case in CASES] for _ in range(2))
    if is_compiled:
        assert once == again
    return once


def test_the_attention_of_cpus_gives_the_same_tokens(
    make: Callable[..., LLM], alone: list[Answer]
) -> None:
    with make("cpu") as llm:
        assert_close(ask(llm, CASES), alone)


def test_a_batch_and_a_warm_cache_give_the_same_tokens(
    make: Callable[..., LLM], is_compiled: bool, alone: list[Answer]
) -> None:
    with make(is_compiled=is_compiled) as llm:
        assert_close(ask(llm, CASES + NEIGHBOURS)[: len(CASES)], alone)
        hits_before = llm.stats.total_prefix_hits
        assert_close(ask(llm, CASES), alone)
        assert llm.stats.total_prefix_hits > hits_before


@pytest.mark.parametrize("chunk", [3, pytest.param(16, marks=pytest.mark.slow)])
def test_chunks_give_the_same_tokens(
    make: Callable[..., LLM], alone: list[Answer], chunk: int
) -> None:
    with make(prefill_chunk_tokens=chunk) as llm:
        assert_close(ask(llm, CASES + NEIGHBOURS[:2])[: len(CASES)], alone)


def test_preemption_gives_the_same_tokens(
    make: Callable[..., LLM], is_compiled: bool, alone: list[Answer]
) -> None:
    with make(is_compiled=is_compiled, num_gpu_blocks_override=11) as llm:
        assert_close(ask(llm, CASES + NEIGHBOURS)[: len(CASES)], alone)
        assert llm.stats.total_preemptions > 0
