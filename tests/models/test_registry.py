"""Families read config.json in its old and new forms and refuse what they cannot compute."""

from __future__ import annotations

import numpy as np
import pytest

from models.config import RopeScaling
from models.errors import UnsupportedModel
from models.logical_axes import LOGICAL_TO_MESH
from models.registry import FAMILIES, UnsupportedArchitecture, family_for
from models.weight_rules import fuse

BASE = {
    "architectures": ["LlamaForCausalLM"],
    "vocab_size": 64,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
}


def read(architecture="LlamaForCausalLM", **differences):
    hf_config = BASE | {"architectures": [architecture]} | differences
    return family_for(hf_config).decoder_config(hf_config)


def test_an_unknown_architecture_is_refused_with_the_supported_ones():
    with pytest.raises(UnsupportedArchitecture) as caught:
        family_for({"architectures": ["FooForCausalLM"]})
    assert caught.value.architectures == ("FooForCausalLM",)
    for family in FAMILIES:
        assert set(family.architectures) <= set(caught.value.supported)


def test_both_forms_of_rope_read_alike():
    scaling = {
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }
    old = read(rope_theta=5e5, rope_scaling=scaling | {"rope_type": "llama3"})
    new = read(rope_parameters=scaling | {"rope_type": "llama3", "rope_theta": 5e5})
    assert old == new
    assert old.rope_theta == 5e5
    assert old.rope_scaling == RopeScaling(kind="llama3", factor=8.0)
    linear = read(rope_scaling={"type": "linear", "factor": 2.0})
    assert linear.rope_scaling == RopeScaling(kind="linear", factor=2.0)


def test_both_forms_of_the_ropes_of_gemma_3_read_alike():
    old = read("Gemma3ForCausalLM", rope_scaling={"rope_type": "linear", "factor": 8.0})
    new = read(
        "Gemma3ForCausalLM",
        rope_parameters={
            "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
            "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
        },
    )
    assert old == new
    assert (old.rope_theta, old.sliding_rope_theta) == (1e6, 1e4)
    assert old.rope_scaling == RopeScaling(kind="linear", factor=8.0)


def test_a_model_with_a_vision_tower_is_read_by_its_text_part():
    text = {name: value for name, value in BASE.items() if name != "architectures"}
    hf_config = {
        "architectures": ["Gemma3ForConditionalGeneration"],
        "torch_dtype": "bfloat16",
        "text_config": text | {"architectures": None, "dtype": None},
        "vision_config": {"hidden_size": 8},
    }
    config = family_for(hf_config).decoder_config(hf_config)
    assert (config.d_model, config.head_dim, config.dtype) == (32, 256, "bfloat16")
    assert config.architecture == "Gemma3ForConditionalGeneration"


@pytest.mark.parametrize(
    "differences",
    [
        {"use_bidirectional_attention": True},
        {"sliding_window": None},
        {"attn_logit_softcapping": 50.0},
        {"rope_parameters": {"sliding_attention": {"rope_type": "linear", "factor": 2.0}}},
    ],
)
def test_what_gemma_3_would_compute_wrongly_is_refused(differences):
    with pytest.raises(UnsupportedModel, match="not supported"):
        read("Gemma3ForCausalLM", **differences)


@pytest.mark.parametrize(
    "differences",
    [
        {"rope_scaling": {"rope_type": "yarn", "factor": 4.0}},
        # transformers 5 lets the old name overrule the new one.
        {
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e4},
            "rope_scaling": {"type": "yarn", "factor": 4.0},
        },
        {"num_hidden_layers": -1},
        {"num_attention_heads": 0},
        {"quantization_config": {"quant_method": "awq"}},
        {"partial_rotary_factor": 0.5},
        {"hidden_act": "relu2"},
        {"dtype": "float8_e4m3fn"},
    ],
)
def test_what_would_be_computed_wrongly_is_refused(differences):
    with pytest.raises(UnsupportedModel, match="not supported"):
        read(**differences)


@pytest.mark.parametrize(
    ("architecture", "differences", "windows"),
    [
        ("MistralForCausalLM", {}, (4096,) * 3),
        ("MistralForCausalLM", {"sliding_window": None}, (0, 0, 0)),
        ("Qwen2ForCausalLM", {"sliding_window": 8}, (0, 0, 0)),
        (
            "Qwen2ForCausalLM",
            {"sliding_window": 8, "use_sliding_window": True, "max_window_layers": 2},
            (0, 0, 8),
        ),
        (
            "Qwen3ForCausalLM",
            {
                "sliding_window": 8,
                "use_sliding_window": True,
                "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
            },
            (8, 0, 8),
        ),
        ("Gemma2ForCausalLM", {"sliding_window": 8}, (8, 0, 8)),
        ("Gemma3ForCausalLM", {"sliding_window": 8}, (8, 8, 8)),
        ("Gemma3ForCausalLM", {"sliding_window": 8, "sliding_window_pattern": 3}, (8, 8, 0)),
        (
            "Gemma3ForCausalLM",
            {"layer_types": ["full_attention", "sliding_attention", "full_attention"]},
            (0, 4096, 0),
        ),
    ],
)
def test_windows_follow_the_family(architecture, differences, windows):
    assert read(architecture, **differences).windows == windows


def test_dtype_is_read_under_both_names():
    assert read(torch_dtype="bfloat16").dtype == read(dtype="bfloat16").dtype == "bfloat16"


def test_fused_weights_are_cut_into_whole_shards():
    q, k = np.arange(8)[:, None], 100 + np.arange(4)[:, None]
    assert fuse([q, k], 1).ravel().tolist() == [*range(8), 100, 101, 102, 103]
    assert fuse([q, k], 2).ravel().tolist() == [0, 1, 2, 3, 100, 101, 4, 5, 6, 7, 102, 103]


def test_every_axis_of_a_weight_is_in_the_table():
    for rule in family_for(BASE).weight_rules(read(attention_bias=True)):
        assert set(rule.logical_axes) <= set(LOGICAL_TO_MESH)
        assert len(rule.logical_axes) == len(rule.shape)
