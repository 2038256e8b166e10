"""Gemma 3 (arXiv:2503.19786), text: five layers slide, then one sees everything.

Layers that slide rotate by a base of their own. The vision tower of a
Gemma3ForConditionalGeneration checkpoint stays unused.
"""

from __future__ import annotations

from models.config import DecoderConfig
from models.errors import UnsupportedModel
from models.families import gemma2
from models.families.names import llama_weight_rules
from models.families.reading import text_part
from models.family import Family, HFConfig

DEFAULTS: HFConfig = {
    **gemma2.DEFAULTS,
    "vocab_size": 262208,
    "num_attention_heads": 8,
    "max_position_embeddings": 131072,
    "sliding_window_pattern": 6,
    "rope_theta": 1e6,
    "rope_local_base_freq": 1e4,
    "final_logit_softcapping": None,
    "attn_logit_softcapping": None,
}
TENSOR_PREFIXES = {
    "language_model.model.": "model.",
    "language_model.lm_head.": "lm_head.",
    "model.language_model.": "model.",
}
"""Where the text model's tensors are in checkpoints that have a vision tower too."""


def decoder_config(hf_config: HFConfig) -> DecoderConfig:
    """`rope_parameters` has an entry a kind of layer; files before transformers 5 have
    `rope_theta`, `rope_local_base_freq` and a `rope_scaling` for layers that see everything."""
    given = {**DEFAULTS, **text_part(hf_config)}
    if given["attn_logit_softcapping"] is not None:
        raise UnsupportedModel("attn_logit_softcapping is not supported: Gemma 3 has q/k norms")
    ropes: HFConfig = given.get("rope_parameters") or {}
    sliding: HFConfig = ropes.get("sliding_attention") or {}
    if sliding.get("rope_type", "default") != "default":
        raise UnsupportedModel(f"rope scaling of sliding layers, {sliding!r}, is not supported")
    theta = sliding.get("rope_theta") or given["rope_local_base_freq"]
    return gemma2.read_gemma_config(
        {**given, "rope_parameters": ropes.get("full_attention")},
        qk_norm=True,
        sliding_rope_theta=float(theta),
    )


GEMMA3 = Family(
    "gemma3",
    ("Gemma3ForCausalLM", "Gemma3ForConditionalGeneration"),
    decoder_config,
    llama_weight_rules,
    TENSOR_PREFIXES,
)
