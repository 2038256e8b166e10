"""What distinguishes one decoder from another when it is only a number or a choice.

What differs in control flow is a mixer (`models/mixers`), not a field.
"""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True, kw_only=True)
class RopeScaling:
    """Frequency scaling of rotary embeddings.

    Attributes:
        kind: "linear" or "llama3" (Llama 3.1: low frequencies are slowed, high ones kept).
    """

    kind: str
    factor: float
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    original_max_position_embeddings: int = 8192


@dataclasses.dataclass(frozen=True, kw_only=True)
class DecoderConfig:
    """A decoder-only transformer. Families translate a Hugging Face config.json into one.

    Attributes:
        architecture: Hugging Face's class name, e.g. "LlamaForCausalLM".
        windows: per layer, how many tokens back attention may look (itself included); 0 = all.
        sliding_rope_theta: base of layers that have a window, unscaled; None = as all others.
        attention_scale: multiplies the scores; None = `head_dim**-0.5`.
        attention_softcap: scores become `cap * tanh(score / cap)`; None = not.
        logits_softcap: the same of logits.
        has_kv_scales: the checkpoint says what 8-bit keys and values are to be multiplied by.
        qk_norm: RMSNorm over each head of q and k before rotation.
        has_post_norms: mixer and feed-forward layer have a norm behind them too.
        norm_weight_offset: added to every norm's weight: 1 where checkpoints keep `weight - 1`.
        embedding_scale: multiplies embeddings, rounded to the model's dtype.
        dtype: of the checkpoint: "float32", "bfloat16" or "float16".
    """

    architecture: str
    vocab_size: int
    d_model: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    d_ff: int
    norm_eps: float
    rope_theta: float
    max_position_embeddings: int
    rope_scaling: RopeScaling | None = None
    windows: tuple[int, ...] = ()
    sliding_rope_theta: float | None = None
    attention_scale: float | None = None
    attention_softcap: float | None = None
    logits_softcap: float | None = None
    qkv_bias: bool = False
    output_bias: bool = False
    mlp_bias: bool = False
    qk_norm: bool = False
    has_post_norms: bool = False
    norm_weight_offset: float = 0.0
    embedding_scale: float = 1.0
    has_kv_scales: bool = False
    tie_word_embeddings: bool = False
    activation: str = "silu"
    dtype: str = "bfloat16"

    @property
    def score_scale(self) -> float:
        """What multiplies attention's scores."""
        return self.head_dim**-0.5 if self.attention_scale is None else self.attention_scale

    @property
    def num_matrix_parameters(self) -> int:
        """Parameters of all matrices, which is all but norms and biases."""
        heads = (2 * self.num_heads + 2 * self.num_kv_heads) * self.head_dim
        layer = (heads + 3 * self.d_ff) * self.d_model
        vocabulary = self.vocab_size * self.d_model * (1 if self.tie_word_embeddings else 2)
        return self.num_layers * layer + vocabulary
