"""A dense llama in numpy: no pages, no cache, no batch. Shares no code with what it checks."""

from __future__ import annotations

import numpy as np

from bench.random_model import LlamaShape, random_weights


class DenseLlama:
    """Logits of whole sequences, all positions at once. `seed` as given to `make_llama`."""

    def __init__(self, shape: LlamaShape, seed: int = 0) -> None:
        self.shape = shape
        tensors = random_weights(shape, seed)
        self.weights = {name: tensor.astype(np.float32) for name, tensor in tensors.items()}

    def logits(self, token_ids_BN: np.ndarray) -> np.ndarray:
        """Logits float32 [B, N, V] of token ids [B, N]; what follows a token cannot reach it."""
        x = self.weights["model.embed_tokens.weight"][token_ids_BN]
        for index in range(self.shape.num_layers):
            prefix = f"model.layers.{index}."
            x = x + self._attention(self._norm(x, prefix + "input_layernorm"), prefix)
            x = x + self._mlp(self._norm(x, prefix + "post_attention_layernorm"), prefix)
        return self._norm(x, "model.norm") @ self.weights["lm_head.weight"].T

    def _norm(self, x: np.ndarray, name: str) -> np.ndarray:
        scale = 1 / np.sqrt((x * x).mean(-1, keepdims=True) + np.float32(1e-5))
        return x * scale * self.weights[name + ".weight"]

    def _mlp(self, x: np.ndarray, prefix: str) -> np.ndarray:
        gate = x @ self.weights[prefix + "mlp.gate_proj.weight"].T
        up = x @ self.weights[prefix + "mlp.up_proj.weight"].T
        return (gate / (1 + np.exp(-gate)) * up) @ self.weights[prefix + "mlp.down_proj.weight"].T

    def _attention(self, x: np.ndarray, prefix: str) -> np.ndarray:
        shape, (batch, length, _) = self.shape, x.shape
        q = self._heads(x, prefix + "self_attn.q_proj.weight", shape.num_heads)
        k = self._heads(x, prefix + "self_attn.k_proj.weight", shape.num_kv_heads)
        v = self._heads(x, prefix + "self_attn.v_proj.weight", shape.num_kv_heads)
        group = shape.num_heads // shape.num_kv_heads
        q, k = self._rotate(q), np.repeat(self._rotate(k), group, axis=2)
        scores = np.einsum("bqhd,bkhd->bhqk", q, k) / np.sqrt(np.float32(shape.head_dim))
        scores = np.where(np.tri(length, dtype=bool), scores, -np.inf)
        chances = np.exp(scores - scores.max(-1, keepdims=True))
        chances /= chances.sum(-1, keepdims=True)
        mixed = np.einsum("bhqk,bkhd->bqhd", chances, np.repeat(v, group, axis=2))
        return mixed.reshape(batch, length, -1) @ self.weights[prefix + "self_attn.o_proj.weight"].T

    def _heads(self, x: np.ndarray, name: str, num_heads: int) -> np.ndarray:
        projected = x @ self.weights[name].T
        return projected.reshape(*x.shape[:2], num_heads, self.shape.head_dim)

    def _rotate(self, x: np.ndarray) -> np.ndarray:
        half = self.shape.head_dim // 2
        frequencies = 10000.0 ** (-np.arange(half) / half)
        angles = (np.arange(x.shape[1])[:, None] * frequencies).astype(np.float32)
        cos, sin = np.cos(angles)[:, None], np.sin(angles)[:, None]
        first, second = x[..., :half], x[..., half:]
        return np.concatenate([first * cos - second * sin, second * cos + first * sin], -1)
