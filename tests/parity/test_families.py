"""Every family computes what transformers computes, however the prompt is cut and cached."""

from __future__ import annotations

import numpy as np
import pytest
import transformers as hf

PROMPT = [int(token) for token in np.random.default_rng(7).integers(0, 131, 37)]
PAGES = (5, 9, 2, 14, 7, 11, 3)
OTHER_PAGES = (5, 9, 16, 17, 18, 19, 20)
"""The first two pages, 32 tokens, are shared with PAGES."""
NUM_NEW = 64

LLAMA = (hf.LlamaConfig, hf.LlamaForCausalLM)
QWEN2 = (hf.Qwen2Config, hf.Qwen2ForCausalLM)
QWEN3 = (hf.Qwen3Config, hf.Qwen3ForCausalLM)
MISTRAL = (hf.MistralConfig, hf.MistralForCausalLM)
GEMMA2 = (hf.Gemma2Config, hf.Gemma2ForCausalLM)
GEMMA3 = (hf.Gemma3TextConfig, hf.Gemma3ForCausalLM)
LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 500.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
LINEAR_ROPE = {"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}
SLIDING = {"use_sliding_window": True, "sliding_window": 20, "max_window_layers": 1}
GEMMA = {"head_dim": 16, "query_pre_attn_scalar": 24, "sliding_window": 20}
GEMMA_ROPES = {
    "sliding_attention": {"rope_type": "default", "rope_theta": 100.0},
    "full_attention": {"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0},
}

CASES = {
    "llama": (*LLAMA, {}),
    "llama-group1": (*LLAMA, {"num_key_value_heads": 6}),
    "llama-group3": (
        *LLAMA,
        {"hidden_size": 96, "num_attention_heads": 12, "num_key_value_heads": 4},
    ),
    "llama-group8": (
        *LLAMA,
        {"hidden_size": 64, "num_attention_heads": 8, "num_key_value_heads": 1},
    ),
    "llama-tied": (*LLAMA, {"tie_word_embeddings": True}),
    "llama-biases": (*LLAMA, {"attention_bias": True, "mlp_bias": True}),
    "llama-head-dim": (*LLAMA, {"head_dim": 32}),
    "llama3-rope": (*LLAMA, {"rope_parameters": LLAMA3_ROPE}),
    "llama-linear-rope": (*LLAMA, {"rope_parameters": LINEAR_ROPE}),
    "qwen2": (*QWEN2, {}),
    "qwen2-tied": (*QWEN2, {"tie_word_embeddings": True}),
    "qwen2-group7": (
        *QWEN2,
        {"hidden_size": 56, "num_attention_heads": 7, "num_key_value_heads": 1},
    ),
    "qwen2-sliding": (*QWEN2, SLIDING),
    "qwen3": (*QWEN3, {"head_dim": 16}),
    "qwen3-bias": (*QWEN3, {"head_dim": 16, "attention_bias": True}),
    "qwen3-sliding": (*QWEN3, SLIDING | {"head_dim": 16}),
    "mistral-no-window": (*MISTRAL, {"sliding_window": None}),
    "mistral-short-window": (*MISTRAL, {"sliding_window": 20}),
    "mistral-long-window": (*MISTRAL, {"sliding_window": 300}),
    "gemma2": (*GEMMA2, GEMMA),
    "gemma2-other-caps": (
        *GEMMA2,
        GEMMA | {"attn_logit_softcapping": 2.0, "final_logit_softcapping": None},
    ),
    "gemma3": (*GEMMA3, GEMMA | {"num_hidden_layers": 7}),
    "gemma3-ropes": (
        *GEMMA3,
        GEMMA | {"rope_parameters": GEMMA_ROPES, "sliding_window_pattern": 2},
    ),
    "gemma3-untied": (
        *GEMMA3,
        GEMMA | {"tie_word_embeddings": False, "final_logit_softcapping": 3.0},
    ),
}


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def pair(request, make_pair):
    config_class, model_class, differences = request.param
    return make_pair(config_class, model_class, **differences)


def relative_error(found, expected):
    return np.abs(found - expected).max() / np.abs(expected).max()


def test_logits_and_greedy_tokens_match_transformers(pair, prefill, decode):
    expected = pair.expected(PROMPT)
    greedy = pair.expected_greedy(PROMPT, NUM_NEW)
    driver = pair.driver()
    whole = prefill(driver, PROMPT, PAGES, chunk=len(PROMPT))
    assert relative_error(whole, expected) < 2e-5
    assert decode(driver, PROMPT, PAGES, whole[-1], NUM_NEW) == greedy
    shared = prefill(driver, PROMPT, OTHER_PAGES, chunk=len(PROMPT), start=32)
    assert np.array_equal(shared, whole[32:]), "a cache hit changed the logits"
    assert decode(driver, PROMPT, OTHER_PAGES, shared[-1], NUM_NEW) == greedy
    for chunk in (1, 5, 16):
        chunked = prefill(pair.driver(), PROMPT, PAGES, chunk)
        assert np.array_equal(chunked, whole), f"chunks of {chunk} changed the logits"
