"""Families with the attention kernel of TPUs, run by Pallas' interpreter, beside transformers.

Chunks are compared within the tolerance and not bit by bit: the kernel sums a row of one token in
another order than a tile of several.
"""

from __future__ import annotations

import numpy as np
import pytest
import transformers as hf

PROMPT = [int(token) for token in np.random.default_rng(7).integers(0, 131, 37)]
PAGES = (5, 9, 2, 14, 7, 11, 3)
OTHER_PAGES = (5, 9, 16, 17, 18, 19, 20)
"""The first two pages, 32 tokens, are shared with PAGES."""
NUM_NEW = 16
TOLERANCE = 2e-5

GEMMA = {"head_dim": 16, "query_pre_attn_scalar": 24, "sliding_window": 20}
SLIDING = {"use_sliding_window": True, "sliding_window": 20, "max_window_layers": 1}
CASES = {
    "llama": (hf.LlamaConfig, hf.LlamaForCausalLM, {}),
    "llama-one-kv-head": (
        hf.LlamaConfig,
        hf.LlamaForCausalLM,
        {"hidden_size": 64, "num_attention_heads": 8, "num_key_value_heads": 1},
    ),
    "qwen3-sliding": (hf.Qwen3Config, hf.Qwen3ForCausalLM, SLIDING | {"head_dim": 64}),
    "mistral-short-window": (hf.MistralConfig, hf.MistralForCausalLM, {"sliding_window": 20}),
    "gemma2": (hf.Gemma2Config, hf.Gemma2ForCausalLM, GEMMA),
    "gemma3": (
        hf.Gemma3TextConfig,
        hf.Gemma3ForCausalLM,
        GEMMA | {"sliding_window_pattern": 2},
    ),
}
EVERY_DAY = ("gemma2",)


@pytest.fixture(
    params=[
        pytest.param(case, id=name, marks=() if name in EVERY_DAY else pytest.mark.slow)
        for name, case in CASES.items()
    ]
)
def pair(request, make_pair):
    config_class, model_class, differences = request.param
    return make_pair(config_class, model_class, **differences)


def relative_error(found, expected):
    return np.abs(found - expected).max() / np.abs(expected).max()


def test_logits_and_greedy_tokens_match_transformers(pair, prefill, decode):
    expected = pair.expected(PROMPT)
    greedy = pair.expected_greedy(PROMPT, NUM_NEW)
    driver = pair.driver("tpu")
    whole = prefill(driver, PROMPT, PAGES, chunk=len(PROMPT))
    assert relative_error(whole, expected) < TOLERANCE
    assert decode(driver, PROMPT, PAGES, whole[-1], NUM_NEW) == greedy
    shared = prefill(driver, PROMPT, OTHER_PAGES, chunk=len(PROMPT), start=32)
    assert relative_error(shared, expected[32:]) < TOLERANCE
    assert decode(driver, PROMPT, OTHER_PAGES, shared[-1], NUM_NEW) == greedy
    for chunk in (1, 16):
        chunked = prefill(pair.driver("tpu"), PROMPT, PAGES, chunk)
        assert relative_error(chunked, expected) < TOLERANCE, f"chunks of {chunk}"
