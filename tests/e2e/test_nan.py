"""Promise 1: weights or tokens that give NaN end the requests they touch, and nothing else (R1)."""

from __future__ import annotations

import pathlib
import random

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from bench.random_model import LlamaShape, make_llama
from engine.errors import SequenceError
from engine.llm import LLM
from engine.outputs import RequestOutput
from engine.request import FinishReason, SamplingParams

SHAPE = LlamaShape(
    d_model=32,
    num_layers=2,
    num_heads=4,
    num_kv_heads=2,
    d_ff=64,
    vocab_size=256,
    max_position_embeddings=64,
    weight_std=0.4,
)
BAD_TOKEN = 7
EMBEDDING = "model.embed_tokens.weight"
SAMPLINGS = [
    SamplingParams(max_tokens=8, temperature=0, ignore_eos=True, logit_bias={BAD_TOKEN: -100.0}),
    SamplingParams(
        max_tokens=8,
        seed=3,
        logprobs=2,
        top_p=0.9,
        ignore_eos=True,
        logit_bias={BAD_TOKEN: -100.0},
    ),
]


def make_model(folder: pathlib.Path, tensor: str, rows: slice) -> pathlib.Path:
    """The seeded llama with these rows of a weight made NaN."""
    made = make_llama(folder, SHAPE)
    tensors = load_file(made / "model.safetensors")
    tensors[tensor] = tensors[tensor].copy()
    tensors[tensor][rows] = np.array(np.nan, ml_dtypes.bfloat16)
    save_file(tensors, made / "model.safetensors", {"format": "pt"})
    return made


def load(folder: pathlib.Path) -> LLM:
    # So few pages that those of a failed request are used again at once.
    return LLM(
        str(folder),
        block_size=8,
        max_num_seqs=8,
        max_num_batched_tokens=32,
        num_gpu_blocks_override=24,
        check_invariants=True,
    )


def neighbours(count: int = 12) -> list[list[int]]:
    return [
        [random.Random(100 * name + index).randrange(8, 256) for index in range(1 + 3 * name % 20)]
        for name in range(count)
    ]


def answers(outputs: list[RequestOutput]) -> list[tuple[object, ...]]:
    completions = [output.outputs[0] for output in outputs]
    return [(each.token_ids, each.logprobs, each.finish_reason) for each in completions]


@pytest.mark.parametrize("sampling", SAMPLINGS, ids=["greedy", "sampled"])
def test_a_model_of_nan_ends_requests_with_an_error_and_lives_on(
    tmp_path: pathlib.Path, sampling: SamplingParams
) -> None:
    folder = make_model(tmp_path / "nan", "model.layers.1.mlp.down_proj.weight", slice(0, 1))
    with load(folder) as llm:
        for _ in range(2):
            outputs = llm.generate(neighbours(3), sampling)
            for output in outputs:
                completion = output.outputs[0]
                assert completion.finish_reason == FinishReason.ERROR.value
                assert completion.token_ids == []
                assert completion.error is not None
                assert completion.error.kind == SequenceError.__name__
        assert llm.stats.num_running == 0
        assert llm.stats.num_free_pages == llm.stats.num_pages


@pytest.mark.parametrize("sampling", SAMPLINGS, ids=["greedy", "sampled"])
def test_a_token_of_nan_hurts_only_requests_that_use_it(
    tmp_path: pathlib.Path, sampling: SamplingParams
) -> None:
    bad_row = slice(BAD_TOKEN, BAD_TOKEN + 1)
    with load(make_llama(tmp_path / "healthy", SHAPE)) as llm:
        healthy = answers(llm.generate(neighbours(), sampling))
    bad = [[*prompt, BAD_TOKEN, *prompt] for prompt in neighbours()]
    prompts = [prompt for pair in zip(bad, neighbours(), strict=True) for prompt in pair]
    with load(make_model(tmp_path / "nan", EMBEDDING, bad_row)) as llm:
        outputs = llm.generate(prompts, sampling)
        again = llm.generate(neighbours(), sampling)
    hurt, spared = outputs[::2], outputs[1::2]
    assert {output.outputs[0].finish_reason for output in hurt} == {FinishReason.ERROR.value}
    assert answers(spared) == healthy
    assert answers(again) == healthy
