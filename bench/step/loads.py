"""The steps that are measured, and what each must at least read and compute. No jax."""

from __future__ import annotations

import dataclasses
from typing import Any

from models.config import DecoderConfig


@dataclasses.dataclass(frozen=True)
class StepLoad:
    """Rows of one step, all alike.

    Attributes:
        num_rows: sequences.
        context: tokens in pages before the step.
        num_new: tokens of each sequence that the step computes.
        is_sampled: temperature and top_p instead of the most likely token.
    """

    num_rows: int
    context: int
    num_new: int = 1
    is_sampled: bool = False

    @property
    def name(self) -> str:
        """Short and unique, for tables."""
        sampled = " sampled" if self.is_sampled else ""
        if self.num_new == 1:
            return f"decode batch {self.num_rows} context {self.context}{sampled}"
        return f"prefill {self.num_rows}x{self.num_new} after {self.context}{sampled}"

    @property
    def length(self) -> int:
        """Tokens in pages of each row after the step."""
        return self.context + self.num_new


LOADS = (
    StepLoad(32, 1024),
    StepLoad(1, 1024),
    StepLoad(128, 1024),
    StepLoad(1, 0, 8192),
    StepLoad(1, 0, 1024),
    StepLoad(128, 1024, is_sampled=True),
)
QUICK = (StepLoad(2, 40), StepLoad(1, 0, 24), StepLoad(2, 40, is_sampled=True))


def roofline(decoder: DecoderConfig, load: StepLoad, weight_bytes: int) -> dict[str, Any]:
    """Bytes and FLOPs no step can do without.

    Bytes: all weights once (of an embedding table that is not tied, the rows read), and the keys
    and values of every row once. FLOPs: products with weights (logits of one token a row), and
    attention of pairs that are not masked. Windows are not taken off.

    Args:
        weight_bytes: of all parameters.
    """
    itemsize = weight_bytes / _num_parameters(decoder)
    embedding = decoder.vocab_size * decoder.d_model
    unread = 0 if decoder.tie_word_embeddings else embedding
    num_tokens = load.num_rows * load.num_new
    kv_bytes = 2 * 2 * decoder.num_layers * decoder.num_kv_heads * decoder.head_dim
    pairs = load.num_new * load.context + load.num_new * (load.num_new + 1) // 2
    tables = embedding * (1 if decoder.tie_word_embeddings else 2)
    in_layers = decoder.num_matrix_parameters - tables
    attention = 4 * pairs * decoder.num_heads * decoder.head_dim * decoder.num_layers
    return {
        "bytes": int(weight_bytes - unread * itemsize + load.num_rows * load.length * kv_bytes),
        "flops": 2 * in_layers * num_tokens
        + 2 * embedding * load.num_rows
        + attention * load.num_rows,
        "tokens": num_tokens,
    }


def _num_parameters(decoder: DecoderConfig) -> int:
    """All but norms and biases, which are too few to count."""
    return decoder.num_matrix_parameters
