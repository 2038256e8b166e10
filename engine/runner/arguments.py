"""The arrays a step is given: their shapes, dtypes and places, before any of them exists."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import Mesh

from engine.config import ResolvedConfig
from engine.errors import ModelFormatError
from engine.runner.buckets import Bucket, all_buckets
from engine.runner.fields import StepFields, step_fields
from engine.runner.step import StepModel
from engine.sampling import MAX_STEP_BANS, SlotState, make_slot_state
from engine.sampling.parameters import NUM_PARAMETER_FIELDS
from engine.sampling.row import num_words
from engine.sharding.placement import (
    StepShardings,
    pages_sharding,
    parameter_sharding,
    step_shardings,
)
from engine.weights.loader import Placement
from models.config import DecoderConfig
from models.decoder import Decoder
from models.weight_rules import WeightRule
from pallas_kernels.paged_attention import (
    AttentionShape,
    Choice,
    KVPages,
    choose,
    make_kv_pages,
)
from pallas_kernels.threshold import Threshold
from pallas_kernels.threshold import choose as choose_threshold


@dataclasses.dataclass(frozen=True)
class StepProgram:
    """Everything that is fixed about all steps of one engine.

    Attributes:
        decoder: the model's numbers.
        config: resolved choices.
        mesh: devices.
        model: the decoder taken apart.
        attention: which kind serves it; its pages have the layout of that kind.
        threshold: which kind of search the sampler uses.
        shardings: of packed integers and what is replicated.
        placements: rule and sharding of every weight, in the step's order.
    """

    decoder: DecoderConfig
    config: ResolvedConfig
    mesh: Mesh
    model: StepModel
    attention: Choice
    threshold: Choice
    shardings: StepShardings
    placements: tuple[Placement, ...]

    @property
    def max_pages(self) -> int:
        """Columns of a page table: pages of `max_model_len` tokens."""
        return -(-self.config.max_model_len // self.config.page_size)

    @property
    def num_data_shards(self) -> int:
        """Parts a step's rows are split into."""
        return int(self.mesh.shape["data"])

    def fields(self, bucket: Bucket) -> StepFields:
        """Layout of a bucket's packed array."""
        return step_fields(
            bucket,
            max_pages=self.max_pages,
            num_parameters=NUM_PARAMETER_FIELDS,
            max_bans=MAX_STEP_BANS,
        )

    def abstract_weights(self) -> list[jax.ShapeDtypeStruct]:
        """Shapes of the weight leaves."""
        return [
            jax.ShapeDtypeStruct(
                placement.rule.shape, self._dtype_of(placement), sharding=placement.sharding
            )
            for placement in self.placements
        ]

    def _dtype_of(self, placement: Placement) -> str:
        return "float32" if placement.rule.scale_heads else self.config.weight_dtype

    def abstract_packed(self, bucket: Bucket) -> jax.ShapeDtypeStruct:
        """Shape of a bucket's packed array."""
        shape = (self.num_data_shards, self.fields(bucket).num_columns)
        return jax.ShapeDtypeStruct(shape, jnp.int32, sharding=self.shardings.packed)

    def embeds_shape(self, bucket: Bucket) -> tuple[int, int]:
        """Of the embeddings that steps of a bucket are given, if they are."""
        return (self.num_data_shards * bucket.num_tokens, self.decoder.d_model)

    def abstract_embeds(self, bucket: Bucket) -> tuple[jax.ShapeDtypeStruct, ...]:
        """The argument of embeddings, float32; nothing for buckets without one."""
        if not self.model.takes_embeds(bucket):
            return ()
        sharding = self.shardings.replicated
        return (jax.ShapeDtypeStruct(self.embeds_shape(bucket), jnp.float32, sharding=sharding),)

    def embeds_bytes(self) -> int:
        """What the empty embeddings of all buckets take on a device, and those of one step."""
        buckets = [each for each in all_buckets(self.config) if self.model.takes_embeds(each)]
        sizes = [4 * rows * width for rows, width in map(self.embeds_shape, buckets)]
        return sum(sizes) + max(sizes, default=0)

    def abstract_sampler_arguments(
        self, bucket: Bucket
    ) -> tuple[jax.ShapeDtypeStruct, jax.ShapeDtypeStruct, jax.ShapeDtypeStruct]:
        """Shapes of the logits of a bucket's rows, of the sampler's packed columns and of the
        bits of allowed ids."""
        num_rows, vocab_size = self.num_data_shards * bucket.num_rows, self.decoder.vocab_size
        replicated = self.shardings.replicated
        packed = (self.num_data_shards, self.fields(bucket).num_sampler_columns)
        words = (num_rows, num_words(vocab_size))
        return (
            jax.ShapeDtypeStruct((num_rows, vocab_size), jnp.float32, sharding=replicated),
            jax.ShapeDtypeStruct(packed, jnp.int32, sharding=self.shardings.packed),
            jax.ShapeDtypeStruct(words, jnp.uint32, sharding=replicated),
        )

    def make_pages_and_state(self, num_pages: int) -> tuple[list[KVPages], SlotState]:
        """Zeroed pages of every layer and a fresh slot state; to be compiled, not called."""
        decoder, config = self.decoder, self.config
        kv = [
            make_kv_pages(
                num_pages * self.num_data_shards,
                config.page_size,
                decoder.num_kv_heads,
                decoder.head_dim,
                config.kv_dtype,
                self.attention.kind,
                num_shards=config.tensor_parallel_size,
            )
            for _ in range(decoder.num_layers)
        ]
        return kv, make_slot_state(config.max_num_seqs, decoder.vocab_size)

    def pages_and_state_shardings(self) -> tuple[Any, jax.sharding.Sharding]:
        """Prefix of `make_pages_and_state`'s result: where its arrays lie."""
        kv, _ = jax.eval_shape(lambda: self.make_pages_and_state(1))
        return [pages_sharding(self.mesh, layer) for layer in kv], self.shardings.replicated

    def abstract_pages_and_state(self, num_pages: int) -> tuple[list[KVPages], SlotState]:
        """Shapes and places of what `make_pages_and_state` makes."""
        kv, state = jax.eval_shape(lambda: self.make_pages_and_state(num_pages))
        kv = [_placed(layer, pages_sharding(self.mesh, layer)) for layer in kv]
        return kv, _placed(state, self.shardings.replicated)

    def weight_bytes(self) -> int:
        """Bytes of all weights on one device."""
        return sum(
            jnp.dtype(self._dtype_of(placement)).itemsize
            * _num_items(placement.sharding.shard_shape(placement.rule.shape))
            for placement in self.placements
        )

    def num_parameters(self) -> int:
        """Numbers the model has learned."""
        return sum(_num_items(placement.rule.shape) for placement in self.placements)


def make_program(
    decoder: DecoderConfig, config: ResolvedConfig, mesh: Mesh, rules: tuple[WeightRule, ...]
) -> StepProgram:
    """Take the decoder apart without giving it weights.

    Raises:
        ModelFormatError: the family's rules and the decoder disagree about a parameter.
    """
    step_mesh = mesh if mesh.size > 1 else None
    abstract = nnx.eval_shape(
        lambda: Decoder(
            decoder,
            rngs=nnx.Rngs(0),
            dtype=config.dtype,
            weight_dtype=config.weight_dtype,
            mesh=step_mesh,
        )
    )
    graph, state = nnx.split(abstract)
    leaves, treedef = jax.tree_util.tree_flatten_with_path(state)
    by_parameter = {rule.parameter: rule for rule in rules}
    placements: list[Placement] = []
    for path, leaf in leaves:
        parameter = _parameter_name(path)
        rule = by_parameter.pop(parameter, None)
        if rule is None or rule.shape != leaf.shape:
            raise ModelFormatError(f"{decoder.architecture} has no rule that makes {parameter}.")
        placements.append(Placement(rule, parameter_sharding(mesh, rule)))
    shardings = step_shardings(mesh)
    threshold = choose_threshold(config.platform, mesh.devices.flat[0])
    return StepProgram(
        decoder=decoder,
        config=config,
        mesh=mesh,
        model=StepModel(
            graph=graph,
            treedef=treedef,
            num_alternatives=min(config.max_logprobs, decoder.vocab_size),
            replicated=shardings.replicated if mesh.size > 1 else None,
            threshold=Threshold(threshold.kind, step_mesh),
            has_prompt_embeds=config.enable_prompt_embeds,
        ),
        attention=choose_attention(decoder, config, mesh),
        threshold=threshold,
        shardings=shardings,
        placements=tuple(placements),
    )


def choose_attention(decoder: DecoderConfig, config: ResolvedConfig, mesh: Mesh) -> Choice:
    """The attention of this model on these devices."""
    shape = AttentionShape(
        num_heads=decoder.num_heads // config.tensor_parallel_size,
        num_kv_heads=decoder.num_kv_heads // config.tensor_parallel_size,
        head_dim=decoder.head_dim,
        page_size=config.page_size,
        dtype=config.dtype,
        kv_dtype=config.kv_dtype,
        max_rows=config.max_num_seqs // config.data_parallel_size,
        max_pages_per_row=-(-config.max_model_len // config.page_size),
    )
    return choose(config.platform, shape, mesh.devices.flat[0])


def _parameter_name(path: tuple[object, ...]) -> str:
    """Dotted path of a leaf of an nnx state, as families' rules spell it."""
    keys = (getattr(key, "key", getattr(key, "idx", None)) for key in path)
    return ".".join(str(key) for key in keys if key is not None)


def _num_items(shape: tuple[int, ...]) -> int:
    num_items = 1
    for size in shape:
        num_items *= size
    return num_items


def _placed(tree: Any, sharding: jax.sharding.Sharding) -> Any:
    def place(leaf: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)

    return jax.tree.map(place, tree)
