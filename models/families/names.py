"""Tensor names that Llama gave and most families kept."""

from __future__ import annotations

from collections.abc import Iterator

from models.config import DecoderConfig
from models.weight_rules import WeightRule

Shape = tuple[int, ...]

NORM_NAMES = {"mixer_norm": "input_layernorm", "mlp_norm": "post_attention_layernorm"}
"""Norms of the residual stream in one layer, and their tensors."""
NORM_NAMES_WITH_POST_NORMS = {
    "mixer_norm": "input_layernorm",
    "post_mixer_norm": "post_attention_layernorm",
    "mlp_norm": "pre_feedforward_layernorm",
    "post_mlp_norm": "post_feedforward_layernorm",
}


def llama_weight_rules(config: DecoderConfig) -> tuple[WeightRule, ...]:
    """One rule for every parameter of `Decoder(config)`, in Llama's names."""
    return tuple(_rules(config))


def _rules(config: DecoderConfig) -> Iterator[WeightRule]:
    table = (config.vocab_size, config.d_model)
    yield WeightRule("embed.weight", ("model.embed_tokens.weight",), ("vocab", "embed"), table)
    for layer_index in range(config.num_layers):
        yield from _layer_rules(config, layer_index)
    yield WeightRule("norm.weight", ("model.norm.weight",), ("embed",), table[1:])
    if not config.tie_word_embeddings:
        yield WeightRule("head.weight", ("lm_head.weight",), ("vocab", "embed"), table)


def _layer_rules(config: DecoderConfig, layer_index: int) -> Iterator[WeightRule]:
    """Rules of one layer: parameter, tensor names, axes, shape."""
    ours, theirs = f"layers.{layer_index}", f"model.layers.{layer_index}"
    width, heads = config.d_model, config.num_heads * config.head_dim
    fused = heads + 2 * config.num_kv_heads * config.head_dim
    norms = NORM_NAMES_WITH_POST_NORMS if config.has_post_norms else NORM_NAMES
    for name, source in norms.items():
        yield WeightRule(
            f"{ours}.{name}.weight", (f"{theirs}.{source}.weight",), ("embed",), (width,)
        )
    attention, mlp = f"{theirs}.self_attn", f"{theirs}.mlp"
    qkv = tuple(f"{attention}.{name}_proj" for name in "qkv")
    gate_up = (f"{mlp}.gate_proj", f"{mlp}.up_proj")
    linears: tuple[tuple[str, tuple[str, ...], tuple[str, str], tuple[int, int], bool], ...] = (
        (f"{ours}.mixer.qkv", qkv, ("heads", "embed"), (fused, width), config.qkv_bias),
        (
            f"{ours}.mixer.output",
            (f"{attention}.o_proj",),
            ("embed", "heads"),
            (width, heads),
            config.output_bias,
        ),
        (
            f"{ours}.mlp.gate_up",
            gate_up,
            ("ff", "embed"),
            (2 * config.d_ff, width),
            config.mlp_bias,
        ),
        (
            f"{ours}.mlp.down",
            (f"{mlp}.down_proj",),
            ("embed", "ff"),
            (width, config.d_ff),
            config.mlp_bias,
        ),
    )
    for parameter, sources, axes, shape, has_bias in linears:
        yield from _linear_rules(parameter, sources, axes, shape, has_bias=has_bias)
    for name in ("q_norm", "k_norm") if config.qk_norm else ():
        yield WeightRule(
            f"{ours}.mixer.{name}.weight",
            (f"{attention}.{name}.weight",),
            ("head_dim",),
            (config.head_dim,),
        )


def _linear_rules(
    parameter: str,
    sources: tuple[str, ...],
    axes: tuple[str, str],
    shape: tuple[int, int],
    *,
    has_bias: bool,
) -> Iterator[WeightRule]:
    weights = tuple(f"{source}.weight" for source in sources)
    yield WeightRule(f"{parameter}.weight", weights, axes, shape)
    if has_bias:
        biases = tuple(f"{source}.bias" for source in sources)
        yield WeightRule(f"{parameter}.bias", biases, axes[:1], shape[:1])
