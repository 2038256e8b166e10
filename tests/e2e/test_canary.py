"""Promise 2: nobody's tokens in someone else's answer (R16).

Every prompt ends in a nonce of its own, and every answer is checked against a dense forward pass
of exactly that prompt: a stale page, a wrong position, a slot or a random number of somebody else
changes it. The pool is small, prefixes are shared, and a part of the requests is aborted.
"""

from __future__ import annotations

import pathlib
import random
import runpy

import numpy as np
import pytest

from bench.random_model import LlamaShape, make_llama
from engine.llm import LLM
from engine.outputs import RequestOutput
from engine.request import SamplingParams

DenseLlama = runpy.run_path(str(pathlib.Path(__file__).with_name("dense_llama.py")))["DenseLlama"]

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
BATCH = 500
MAX_TOKENS = 10
GREEDY = SamplingParams(max_tokens=MAX_TOKENS, temperature=0, ignore_eos=True)
# Two engines may round a near-tie differently; a leak moves logits by much more than this.
TOLERANCE = 2e-3


def prompts(first: int, count: int) -> list[list[int]]:
    prefixes = [
        [random.Random(name).randrange(3, 256) for _ in range(name)] for name in range(0, 26, 2)
    ]
    return [
        [*random.Random(nonce).choice(prefixes), *(3 + digit for digit in digits(nonce))]
        for nonce in range(first, first + count)
    ]


def digits(number: int) -> list[int]:
    return [number // 250**place % 250 for place in range(4)]


def worst_regret(model: object, outputs: list[RequestOutput]) -> float:
    """By how much the best logit beat the chosen one, at the worst position of all answers."""
    sequences = [output.prompt_token_ids + output.outputs[0].token_ids for output in outputs]
    longest = max(map(len, sequences))
    padded = np.array([one + [0] * (longest - len(one)) for one in sequences])
    logits = model.logits(padded)  # type: ignore[attr-defined]
    worst = 0.0
    for row, output in enumerate(outputs):
        for offset, token in enumerate(output.outputs[0].token_ids):
            scores = logits[row, len(output.prompt_token_ids) + offset - 1]
            worst = max(worst, float(scores.max() - scores[token]))
    return worst


@pytest.mark.parametrize(
    "num_requests", [10_000, pytest.param(1_000_000, marks=[pytest.mark.slow])]
)
@pytest.mark.timeout(7200)
def test_every_answer_belongs_to_its_own_prompt(num_requests: int, tmp_path: pathlib.Path) -> None:
    model = DenseLlama(SHAPE)
    with LLM(
        str(make_llama(tmp_path / "canary", SHAPE)),
        dtype="float32",
        block_size=8,
        max_num_seqs=32,
        num_gpu_blocks_override=48,
        prefill_chunk_tokens=9,
    ) as llm:
        llm.wait_until_compiled()  # only then so many run at once that pages run out
        num_stopped = 0
        for first in range(0, num_requests, BATCH):
            # Words of ids 200..209 begin with "<w20": where one appears the request is aborted.
            outputs = llm.generate(prompts(first, BATCH), GREEDY, stop=["<w20"])
            num_stopped += sum(output.outputs[0].finish_reason == "stop" for output in outputs)
            assert worst_regret(model, outputs) < TOLERANCE
        stats = llm.stats
    assert 0.2 < num_stopped / num_requests < 0.8
    assert stats.total_preemptions > 0
    assert stats.total_prefix_hits > 0
    assert stats.num_free_pages == stats.num_pages


def test_the_check_sees_a_single_wrong_token(tmp_path: pathlib.Path) -> None:
    with LLM(str(make_llama(tmp_path / "canary", SHAPE)), dtype="float32", block_size=8) as llm:
        outputs = llm.generate(prompts(0, 2), GREEDY)
    model = DenseLlama(SHAPE)
    assert worst_regret(model, outputs) < TOLERANCE
    first, second = (output.outputs[0] for output in outputs)
    first.token_ids, second.token_ids = second.token_ids, first.token_ids
    assert worst_regret(model, outputs) > 10 * TOLERANCE
