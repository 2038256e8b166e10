"""Prompts that are embeddings: the same bytes as their tokens in any company, and no mix-up."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from engine.errors import InvalidParameterError
from engine.llm import LLM
from engine.request import PromptEmbeds, SamplingParams

GREEDY = SamplingParams(max_tokens=8, temperature=0.0, logprobs=2, ignore_eos=True)
SAMPLED = SamplingParams(max_tokens=8, temperature=1.0, logprobs=2, ignore_eos=True, seed=5)
PROMPTS = [[(7 * i + j * j) % 512 for j in range(3 + 5 * i)] for i in range(8)]


@pytest.fixture(scope="module")
def llm(make_llm: Callable[..., LLM]) -> Iterator[LLM]:
    with make_llm(enable_prompt_embeds=True, max_num_seqs=8, max_num_batched_tokens=64) as llm:
        yield llm


@pytest.fixture(scope="module")
def embed(tiny_llama: pathlib.Path) -> Callable[[list[int]], PromptEmbeds]:
    (file,) = tiny_llama.glob("*.safetensors")
    table = load_file(file)["model.embed_tokens.weight"].astype(np.float32)

    def embeds_of(token_ids: list[int]) -> PromptEmbeds:
        rows = table[token_ids]
        return PromptEmbeds(
            dtype="float32", num_tokens=len(rows), width=rows.shape[1], data=rows.tobytes()
        )

    return embeds_of


def answers(llm: LLM, prompts: Any, params: SamplingParams, n: int = 1) -> list[Any]:
    return [
        [(output.token_ids, output.logprobs) for output in result.outputs]
        for result in llm.generate(prompts, params, n=n)
    ]


@pytest.mark.parametrize("params", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
def test_embeddings_give_the_bytes_of_their_tokens(llm: LLM, embed: Any, params: Any) -> None:
    llm.reset_prefix_cache()
    expected = answers(llm, PROMPTS, params, n=2)
    embedded = [embed(prompt) for prompt in PROMPTS]
    assert answers(llm, embedded, params, n=2) == expected
    mixed = [e if i % 2 else p for i, (e, p) in enumerate(zip(embedded, PROMPTS, strict=True))]
    assert answers(llm, mixed, params, n=2) == expected
    assert answers(llm, embedded[::-1], params, n=2) == expected[::-1]
    for prompt, result in zip(embedded, expected, strict=True):
        assert answers(llm, prompt, params, n=2) == [result]
    assert llm.stats.total_compilations_after_ready == 0


def test_chunks_and_preemption_change_no_byte(make_llm: Any, llm: LLM, embed: Any) -> None:
    long = SamplingParams(max_tokens=40, temperature=0.0, logprobs=2, ignore_eos=True)
    prompts = PROMPTS[1:5]
    expected = answers(llm, prompts, long)
    embedded = [embed(prompt) for prompt in prompts]
    options = {"prefill_chunk_tokens": 5, "num_gpu_blocks_override": 14}
    options |= {"block_size": 8, "max_model_len": 96}
    options |= {"max_num_seqs": 8, "max_num_batched_tokens": 64, "is_compiled": False}
    with make_llm(enable_prompt_embeds=True, **options) as small:
        assert answers(small, embedded, long) == expected
        assert small.stats.total_preemptions > 0


def test_equal_embeddings_share_pages_and_others_do_not(llm: LLM, embed: Any) -> None:
    llm.reset_prefix_cache()
    first = [(3 * j) % 512 for j in range(50)]
    other = [*first[:40], 400, *first[41:]]
    (cold,) = llm.generate(embed(first), GREEDY)
    (warm,) = llm.generate(embed(first), GREEDY)
    (near,) = llm.generate(embed(other), GREEDY)
    (tokens,) = llm.generate(first, GREEDY)
    assert [r.num_cached_tokens for r in (cold, warm, near, tokens)] == [0, 48, 32, 0]
    assert warm.outputs[0].token_ids == cold.outputs[0].token_ids == tokens.outputs[0].token_ids


def test_penalties_do_not_take_an_embedding_for_a_token(llm: LLM, embed: Any) -> None:
    prompt = PROMPTS[5]
    params = SamplingParams(
        max_tokens=1, temperature=0.0, logprobs=0, repetition_penalty=1.8, ignore_eos=True
    )
    neutral = SamplingParams(max_tokens=1, temperature=0.0, logprobs=0, ignore_eos=True)
    (penalised,) = llm.generate(embed(prompt), params)
    (plain,) = llm.generate(embed(prompt), neutral)
    assert penalised.outputs[0].token_ids == plain.outputs[0].token_ids


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"width": 32, "num_tokens": 4}, "numbers"),
        ({"num_tokens": 3}, "bytes"),
        ({"num_tokens": 0, "data": b""}, "rows"),
        ({"num_tokens": 10**9}, "rows"),
        ({"dtype": "float64"}, "dtype"),
        ({"data": np.full((2, 64), np.nan, np.float32).tobytes()}, "NaN"),
    ],
)
def test_embeddings_that_are_none_are_refused(
    llm: LLM, changes: dict[str, Any], reason: str
) -> None:
    fine: dict[str, Any] = {
        "dtype": "float32", "num_tokens": 2, "width": 64, "data": bytes(2 * 64 * 4),
    }  # fmt: skip
    with pytest.raises(InvalidParameterError, match=reason) as caught:
        llm.generate(PromptEmbeds(**(fine | changes)), GREEDY)
    assert caught.value.param == "prompt_embeds"


def test_without_the_flag_embeddings_are_refused(make_llm: Any, embed: Any) -> None:
    with (
        make_llm(is_compiled=False) as plain,
        pytest.raises(InvalidParameterError, match="enable-prompt-embeds"),
    ):
        plain.generate(embed(PROMPTS[1]), GREEDY)
