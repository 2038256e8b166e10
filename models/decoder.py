"""The decoder: embed, layers, norm, logits. All families are this one with other numbers."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import Mesh

from models.block import Block, model_norm
from models.config import DecoderConfig
from models.layers.embedding import Embedding
from models.layers.linear import Linear, linear
from models.layers.rope import Rotation, rotations
from models.logical_axes import logits_sharding
from pallas_kernels.paged_attention import KVPages, RaggedBatch


class Decoder(nnx.Module):
    """A decoder-only transformer over a ragged batch and paged keys and values.

    Build it under `nnx.eval_shape` to get the shapes without the weights, `nnx.split` it once, and
    merge inside the compiled step.

    Args:
        config: numbers and choices.
        rngs: stream "params" of the random initial weights.
        dtype: of keys, values and what attention multiplies; None takes the checkpoint's.
        weight_dtype: in which weights are kept and multiplied; None is `dtype`. A wider one has
            the same values and costs memory, for devices that multiply `dtype` slowly.
        mesh: devices to spread over (axes "data" and "model"); None is one device.
    """

    def __init__(
        self,
        config: DecoderConfig,
        *,
        rngs: nnx.Rngs,
        dtype: jax.typing.DTypeLike | None = None,
        weight_dtype: jax.typing.DTypeLike | None = None,
        mesh: Mesh | None = None,
    ) -> None:
        dtype = config.dtype if dtype is None else dtype
        weight_dtype = dtype if weight_dtype is None else weight_dtype
        num_shards = 1 if mesh is None else mesh.shape["model"]
        _check_divides(config, num_shards)
        self.config, self.mesh = config, mesh
        self.embed = Embedding(
            config.vocab_size,
            config.d_model,
            scale=float(jnp.dtype(dtype).type(config.embedding_scale)),
            dtype=weight_dtype,
            rngs=rngs,
        )
        self.layers = nnx.List(
            Block(
                config,
                window,
                dtype=dtype,
                weight_dtype=weight_dtype,
                rngs=rngs,
                mesh=mesh,
                num_shards=num_shards,
            )
            for window in config.windows or (0,) * config.num_layers
        )
        self.norm = model_norm(config, dtype=weight_dtype)
        self.head = (
            None
            if config.tie_word_embeddings
            else Linear(
                config.d_model, config.vocab_size, ("vocab", "embed"), dtype=weight_dtype, rngs=rngs
            )
        )

    def __call__(
        self,
        batch: RaggedBatch,
        kv: list[KVPages],
        *,
        is_decode: bool,
        embeds_TD: jax.Array | None = None,
    ) -> tuple[jax.Array, list[KVPages]]:
        """One step.

        Args:
            batch: tokens to compute; T and R are buckets of at least 8.
            kv: pages of every layer; donate them.
            is_decode: static promise that T == R and row r owns token r.
            embeds_TD: float32; what stands for tokens whose id is negative.

        Returns:
            Normalised hidden states float32 `[T, D]` (garbage but finite for padding tokens), and
            the pages of every layer with this step's keys and values.
        """
        x_TD = self._embedded(batch.token_ids_T, embeds_TD)
        angles = rotations(self.config, batch.positions_T)
        written: list[KVPages] = []
        for layer, layer_kv in zip(self.layers, kv, strict=True):
            graph, weights = nnx.split(layer)
            inputs = (x_TD, angles.of(layer.mixer.window), batch, layer_kv)
            x_TD, written_kv = _run_layer(graph, is_decode, weights, inputs)
            written.append(written_kv)
        return self.norm(x_TD), written

    def _embedded(self, token_ids_T: jax.Array, embeds_TD: jax.Array | None) -> jax.Array:
        if embeds_TD is None:
            return self.embed(token_ids_T)
        x_TD = self.embed(jnp.maximum(token_ids_T, 0))
        return jnp.where((token_ids_T < 0)[:, None], embeds_TD, x_TD)

    def logits(self, hidden_RD: jax.Array) -> jax.Array:
        """Float32 `[R, V]` of hidden states that `__call__` returned; R is at least 8."""
        weight_VD = self.embed.weight if self.head is None else self.head.weight
        logits_RV = linear(hidden_RD, weight_VD[...])
        if self.mesh is not None:
            # Unsaid, XLA gathers the weight on every device when someone wants all logits whole.
            sharding = logits_sharding(self.mesh, logits_RV.shape)
            logits_RV = jax.lax.with_sharding_constraint(logits_RV, sharding)
        cap = self.config.logits_softcap
        return logits_RV if cap is None else cap * jnp.tanh(logits_RV / cap)


@partial(jax.jit, static_argnums=(0, 1), inline=False)
def _run_layer(
    graph: nnx.GraphDef[Block],
    is_decode: bool,
    weights: nnx.State[Any, Any],
    inputs: tuple[jax.Array, Rotation, RaggedBatch, KVPages],
) -> tuple[jax.Array, KVPages]:
    """One layer behind a jit of its own: layers whose graphs are equal are traced once."""
    layer = nnx.merge(graph, weights)
    return layer(*inputs, is_decode=is_decode)


def _check_divides(config: DecoderConfig, num_shards: int) -> None:
    """Heads and feed-forward columns must split evenly over the "model" axis.

    Raises:
        ValueError: they do not; names the number and the remedy.
    """
    sizes = {
        "attention heads": config.num_heads,
        "KV heads": config.num_kv_heads,
        "feed-forward columns": config.d_ff,
    }
    for name, size in sizes.items():
        if size % num_shards:
            raise ValueError(
                f"{size} {name} do not split over {num_shards} devices: "
                f"choose a tensor_parallel_size that divides {size}"
            )


def hidden_of_rows(hidden_TD: jax.Array, batch: RaggedBatch) -> jax.Array:
    """Hidden state `[R, D]` of each row's last token (token 0's for padding rows)."""
    last_R = jnp.maximum(batch.query_starts_R1[1:] - 1, 0)
    return hidden_TD[last_R]
