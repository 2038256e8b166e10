"""The step: pure functions from packed integers to packed results.

    packed ─► unpack ─► decoder (writes and reads pages) ─► last rows ─► logits ┆─► sampler
                                                        └► (scoring steps) all rows ─► scores

A greedy step is one function a bucket. The others are cut at the dotted line: a forward pass a
bucket and a sampler for each number of rows, so that the host can make masks from the tokens of
the step before while the forward pass runs, and so that the sampler is compiled once for all
buckets of so many rows.

Arguments are flat lists of arrays: weights, pages of every layer (donated), slot state (donated by
whoever samples), the packed integers. Everything else is fixed when the function is made.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from flax import nnx

from engine.runner.buckets import Bucket, Variant
from engine.runner.fields import PENDING_TOKEN, Field, StepFields
from engine.sampling import (
    SampleOutput,
    SlotState,
    sample_full,
    sample_greedy,
    score_tokens,
)
from engine.sampling.logprobs import Scores
from models.decoder import Decoder
from pallas_kernels.paged_attention import KVPages, RaggedBatch
from pallas_kernels.threshold import Threshold

NUM_GREEDY_COLUMNS = 2
NUM_SCORE_COLUMNS = 2


class StepOutputs(NamedTuple):
    """What a step returns.

    Attributes:
        kv: pages of every layer, in the donated arrays.
        state: in the donated arrays.
        results_RX: int32; columns token, is_invalid and, but for GREEDY, the columns of `scores`.
        scores_TX: int32; logprob bits, rank, A ids, A logprob bits; empty but for scoring steps.
    """

    kv: list[KVPages]
    state: SlotState
    results_RX: jax.Array
    scores_TX: jax.Array


class ForwardOutputs(NamedTuple):
    """What a forward pass returns.

    Attributes:
        kv: pages of every layer, in the donated arrays.
        logits_RV: float32, of each row's last token.
        scores_TX: as in `StepOutputs`.
    """

    kv: list[KVPages]
    logits_RV: jax.Array
    scores_TX: jax.Array


class SamplerOutputs(NamedTuple):
    """What a sampler returns: two fields of `StepOutputs`, and what few rows ask for.

    Attributes:
        wanted_RK: float32, log-probabilities of the ids in each row's slot.
    """

    state: SlotState
    results_RX: jax.Array
    wanted_RK: jax.Array


StepFunction: TypeAlias = Callable[
    [list[jax.Array], list[KVPages], SlotState, jax.Array], StepOutputs
]
ForwardFunction: TypeAlias = Callable[..., ForwardOutputs]
"""Weights, pages, slot state, packed integers; and embeddings, if `takes_embeds` of its bucket."""
SamplerFunction: TypeAlias = Callable[[jax.Array, SlotState, jax.Array, jax.Array], SamplerOutputs]


@dataclasses.dataclass(frozen=True)
class StepModel:
    """The decoder taken apart: what is static of it.

    Attributes:
        graph: the module without its weights.
        treedef: of the weights' state; its leaves are the step's first argument.
        num_alternatives: ids reported beside each scored token.
        replicated: sharding of what every device must have whole; None on one device.
        threshold: the sampler's search for the cuts of top_k and top_p.
        has_prompt_embeds: prompts may be embeddings (`--enable-prompt-embeds`).
    """

    graph: nnx.GraphDef[Decoder]
    treedef: Any
    num_alternatives: int
    replicated: jax.sharding.Sharding | None
    threshold: Threshold
    has_prompt_embeds: bool = False

    def takes_embeds(self, bucket: Bucket) -> bool:
        """Whether steps of a bucket are given embeddings, float32 [T, D], beside token ids."""
        return self.has_prompt_embeds and not bucket.is_decode


class UnpackedStep(NamedTuple):
    """The fields of the packed array, all data shards one after another. See `StepFields`."""

    batch: RaggedBatch
    target_T: jax.Array
    last_token_index_R: jax.Array


def make_step(model: StepModel, bucket: Bucket, fields: StepFields) -> StepFunction:
    """The greedy step function of one bucket, to be jitted with pages and state donated."""
    forward = make_forward(model, bucket, fields)

    def step(
        weights: list[jax.Array], kv: list[KVPages], state: SlotState, packed: jax.Array
    ) -> StepOutputs:
        outputs = forward(weights, kv, state, packed)
        slot_R = _read(packed, fields.slot_R)
        is_sampling_R = _read(packed, fields.is_sampling_R) != 0
        with jax.named_scope("sample"):
            output, state = sample_greedy(outputs.logits_RV, state, slot_R, is_sampling_R)
        return StepOutputs(outputs.kv, state, _pack_greedy(output), outputs.scores_TX)

    return step


def make_forward(model: StepModel, bucket: Bucket, fields: StepFields) -> ForwardFunction:
    """The forward pass of one bucket, to be jitted with pages donated."""

    def forward(
        weights: list[jax.Array],
        kv: list[KVPages],
        state: SlotState,
        packed: jax.Array,
        embeds_TD: jax.Array | None = None,
    ) -> ForwardOutputs:
        decoder = nnx.merge(model.graph, jax.tree.unflatten(model.treedef, weights))
        inputs = unpack(packed, fields, state)
        with jax.named_scope("decoder"):
            hidden_TD, kv = decoder(
                inputs.batch, kv, is_decode=bucket.is_decode, embeds_TD=embeds_TD
            )
        with jax.named_scope("logits"):
            hidden_RD = _whole(hidden_TD[inputs.last_token_index_R], model)
            logits_RV = _whole(decoder.logits(hidden_RD), model)
        with jax.named_scope("score"):
            scores_TX = _score(decoder, hidden_TD, inputs, bucket, model)
        return ForwardOutputs(kv, logits_RV, scores_TX)

    return forward


def make_sampler(model: StepModel, fields: StepFields) -> SamplerFunction:
    """Everything after the logits, to be jitted with the slot state donated.

    It reads the first `fields.num_sampler_columns` of a packed array, and `allowed_RW`, uint32
    bits of the ids each row may choose: a grammar's, or all ones.
    """

    def sampler(
        logits_RV: jax.Array, state: SlotState, packed: jax.Array, allowed_RW: jax.Array
    ) -> SamplerOutputs:
        output, state = sample_full(
            logits_RV,
            state,
            _read(packed, fields.slot_R),
            _read(packed, fields.is_sampling_R) != 0,
            _read(packed, fields.parameters_RF),
            _read(packed, fields.output_position_R),
            _read(packed, fields.num_output_R),
            _read(packed, fields.ban_RB),
            allowed_RW,
            model.num_alternatives,
            model.threshold,
        )
        scores = Scores(*output[2:])
        results_RX = jnp.concatenate([_pack_greedy(output), _pack_scores(scores)], axis=1)
        return SamplerOutputs(state, results_RX, output.wanted_logprobs_RK)

    return sampler


def _read(packed: jax.Array, field: Field) -> jax.Array:
    """A field of `packed` `[data shards, X]`, all shards one after another."""
    columns = packed[:, field.begin : field.end]
    return columns.reshape(packed.shape[0] * field.shape[0], *field.shape[1:])


def unpack(packed: jax.Array, fields: StepFields, state: SlotState) -> UnpackedStep:
    """The fields of `packed` `[data shards, X]`; pending tokens are taken from the slots."""
    num_shards = packed.shape[0]
    read = functools.partial(_read, packed)
    slot_R, row_T, token_ids_T = read(fields.slot_R), read(fields.row_T), read(fields.token_ids_T)
    starts_R1 = read(fields.query_starts_R1)
    pending_T = state.last_token_S[slot_R[_global_rows(row_T, num_shards, fields)]]
    batch = RaggedBatch(
        token_ids_T=jnp.where(token_ids_T == PENDING_TOKEN, pending_T, token_ids_T),
        positions_T=read(fields.positions_T),
        row_T=row_T,
        query_starts_R1=starts_R1,
        kv_lens_R=read(fields.kv_lens_R),
        page_table_RP=read(fields.page_table_RP),
    )
    return UnpackedStep(
        batch=batch,
        target_T=read(fields.target_T),
        last_token_index_R=_last_token_index(starts_R1, num_shards, fields),
    )


def _global_rows(row_T: jax.Array, num_shards: int, fields: StepFields) -> jax.Array:
    """Rows counted over all data shards, of tokens whose rows are counted within theirs."""
    if num_shards == 1:
        return row_T
    first_row_D = jnp.arange(num_shards, dtype=jnp.int32) * fields.slot_R.shape[0]
    return row_T + jnp.repeat(first_row_D, fields.row_T.shape[0])


def _last_token_index(starts_R1: jax.Array, num_shards: int, fields: StepFields) -> jax.Array:
    """Index on T of each row's last token; of the shard's first token for padding rows of an
    empty shard."""
    end_DR = starts_R1.reshape(num_shards, -1)[:, 1:]
    first_token_D = jnp.arange(num_shards, dtype=jnp.int32) * fields.row_T.shape[0]
    return (jnp.maximum(end_DR - 1, 0) + first_token_D[:, None]).reshape(-1)


def _whole(x: jax.Array, model: StepModel) -> jax.Array:
    """Sums over the vocabulary are taken on one device each, so that sharding changes no bit."""
    return x if model.replicated is None else jax.lax.with_sharding_constraint(x, model.replicated)


def _score(
    decoder: Decoder,
    hidden_TD: jax.Array,
    inputs: UnpackedStep,
    bucket: Bucket,
    model: StepModel,
) -> jax.Array:
    if bucket.variant is not Variant.PROMPT_LOGPROBS:
        return jnp.zeros((0, 0), jnp.int32)
    logits_TV = _whole(decoder.logits(_whole(hidden_TD, model)), model)
    return _pack_scores(score_tokens(logits_TV, inputs.target_T, model.num_alternatives))


def _pack_greedy(output: SampleOutput) -> jax.Array:
    return jnp.stack([output.token_R, output.is_invalid_R.astype(jnp.int32)], axis=1)


def _pack_scores(scores: Scores) -> jax.Array:
    """int32 `[R, 2 + 2A]`: logprob bits, rank, ids, logprob bits."""
    bits = jax.lax.bitcast_convert_type(scores.logprob_R, jnp.int32)
    top_bits = jax.lax.bitcast_convert_type(scores.top_logprobs_RA, jnp.int32)
    first = jnp.stack([bits, scores.rank_R], axis=1)
    return jnp.concatenate([first, scores.top_ids_RA, top_bits], axis=1)
