"""Compiling the engine's few programs: a greedy step or a forward pass per bucket, a sampler per
number of rows, the reset, the writing of a slot row."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from engine.config import ResolvedConfig
from engine.request import MAX_LOGPROB_TOKEN_IDS
from engine.runner.arguments import StepProgram
from engine.runner.buckets import Bucket, Variant
from engine.runner.fields import StepFields
from engine.runner.step import (
    ForwardOutputs,
    SamplerOutputs,
    StepOutputs,
    make_forward,
    make_sampler,
    make_step,
)
from engine.sampling import SlotRow, SlotState, write_slot_row
from engine.sampling.row import num_words
from pallas_kernels.paged_attention import KVPages


@dataclasses.dataclass(frozen=True)
class StepExecutable:
    """A compiled greedy step, or the forward pass of another one.

    Attributes:
        temporary_bytes: scratch memory of one device while it runs, beyond its arguments.
        no_embeds_TD: on the device, what steps without embeddings are given; None for buckets
            that take none.
    """

    bucket: Bucket
    fields: StepFields
    compiled: Any
    temporary_bytes: int
    no_embeds_TD: jax.Array | None = None

    def __call__(
        self,
        weights: list[jax.Array],
        kv: list[KVPages],
        state: SlotState,
        packed: np.ndarray,
        embeds_TD: np.ndarray | None = None,
    ) -> StepOutputs | ForwardOutputs:
        """Launch. `kv` is gone afterwards, and so is `state` if the step samples; their arrays
        come back in the outputs."""
        if self.no_embeds_TD is None:
            return self.compiled(weights, kv, state, packed)
        given_TD = self.no_embeds_TD if embeds_TD is None else embeds_TD
        return self.compiled(weights, kv, state, packed, given_TD)


@dataclasses.dataclass(frozen=True)
class SamplerExecutable:
    """A compiled sampler.

    Attributes:
        fields: of any bucket with its number of rows.
        everything_RW: on the device, all ones: the mask of steps without a grammar.
        temporary_bytes: as in `StepExecutable`, with the logits it reads.
    """

    fields: StepFields
    compiled: Any
    everything_RW: jax.Array
    temporary_bytes: int

    def __call__(
        self,
        logits_RV: jax.Array,
        state: SlotState,
        packed: np.ndarray,
        allowed_RW: np.ndarray | None,
    ) -> SamplerOutputs:
        """Launch. `state` is gone afterwards and comes back in the outputs."""
        mask_RW = self.everything_RW if allowed_RW is None else allowed_RW
        return self.compiled(logits_RV, state, packed, mask_RW)


def compile_step(program: StepProgram, bucket: Bucket, num_pages: int) -> StepExecutable:
    """Compile the step of one bucket (up to the logits, if it is not greedy) for a pool of
    `num_pages`.

    It is an error of ours, found here and not in production, when XLA would copy the pool.
    """
    fields = program.fields(bucket)
    is_greedy = bucket.variant is Variant.GREEDY
    make = make_step if is_greedy else make_forward
    step = make(program.model, bucket, fields)
    # The name is the module's in profiles, and tells variants apart in the persistent cache.
    step.__name__ = step.__qualname__ = (
        f"step_{'decode' if bucket.is_decode else 'mixed'}_t{bucket.num_tokens}"
        f"_r{bucket.num_rows}_{bucket.variant.name.lower()}"
    )
    kv, state = program.abstract_pages_and_state(num_pages)
    kv_sharding = jax.tree.map(_sharding_of, kv)
    replicated = program.shardings.replicated
    out_shardings: Any = (
        StepOutputs._make((kv_sharding, replicated, replicated, replicated))
        if is_greedy
        else ForwardOutputs._make((kv_sharding, replicated, replicated))
    )
    donated = (1, 2) if is_greedy else (1,)
    jitted = jax.jit(step, donate_argnums=donated, out_shardings=out_shardings)
    with _precision(program.config):
        lowered = jitted.lower(
            program.abstract_weights(),
            kv,
            state,
            program.abstract_packed(bucket),
            *program.abstract_embeds(bucket),
        )
    compiled = lowered.compile()
    memory = compiled.memory_analysis()
    no_embeds_TD = _no_embeds(program, bucket)
    if memory is None:
        return StepExecutable(bucket, fields, compiled, 0, no_embeds_TD)
    kv_bytes = _bytes_per_device(kv)
    if memory.alias_size_in_bytes < kv_bytes:
        raise AssertionError(
            f"{step.__name__} would copy the KV pages: {memory.alias_size_in_bytes} of "
            f"{kv_bytes} bytes are updated in place"
        )
    return StepExecutable(bucket, fields, compiled, memory.temp_size_in_bytes, no_embeds_TD)


def _no_embeds(program: StepProgram, bucket: Bucket) -> jax.Array | None:
    if not program.model.takes_embeds(bucket):
        return None
    zeros_TD = np.zeros(program.embeds_shape(bucket), np.float32)
    return jax.device_put(zeros_TD, program.shardings.replicated)


def compile_sampler(program: StepProgram, bucket: Bucket) -> SamplerExecutable:
    """Compile the sampler of all buckets with as many rows as `bucket`."""
    fields = program.fields(bucket)
    sampler = make_sampler(program.model, fields)
    sampler.__name__ = sampler.__qualname__ = f"sampler_r{bucket.num_rows}"
    _, state = program.abstract_pages_and_state(1)
    logits, packed, allowed = program.abstract_sampler_arguments(bucket)
    replicated = program.shardings.replicated
    out_shardings: Any = SamplerOutputs(replicated, replicated, replicated)  # pyright: ignore[reportArgumentType]
    jitted = jax.jit(sampler, donate_argnums=1, out_shardings=out_shardings)
    compiled = jitted.lower(logits, state, packed, allowed).compile()
    memory = compiled.memory_analysis()
    temporary_bytes = 0 if memory is None else memory.temp_size_in_bytes + logits.size * 4
    everything_RW = np.full(allowed.shape, 0xFFFFFFFF, np.uint32)
    on_device = jax.device_put(everything_RW, replicated)
    return SamplerExecutable(fields, compiled, on_device, temporary_bytes)


def compile_reset(program: StepProgram, num_pages: int) -> Any:
    """Compile the function without arguments that makes zeroed pages and a fresh slot state."""

    def reset_pages_and_state() -> tuple[list[KVPages], SlotState]:
        return program.make_pages_and_state(num_pages)

    return (
        jax.jit(reset_pages_and_state, out_shardings=program.pages_and_state_shardings())
        .lower()
        .compile()
    )


def compile_write_slot_row(program: StepProgram) -> Any:
    """Compile `engine.sampling.write_slot_row`: (state, slot index int32, SlotRow) -> state."""
    _, state = program.abstract_pages_and_state(1)
    vocab_size = program.decoder.vocab_size
    replicated = program.shardings.replicated

    def shape(length: int, dtype: jax.typing.DTypeLike) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((length,), dtype, sharding=replicated)

    row: Any = SlotRow(
        token_counts_V=shape(vocab_size, jnp.int32),  # pyright: ignore[reportArgumentType]
        bias_V=shape(vocab_size, jnp.float32),  # pyright: ignore[reportArgumentType]
        allowed_W=shape(num_words(vocab_size), jnp.uint32),  # pyright: ignore[reportArgumentType]
        stop_W=shape(num_words(vocab_size), jnp.uint32),  # pyright: ignore[reportArgumentType]
        scored_K=shape(MAX_LOGPROB_TOKEN_IDS, jnp.int32),  # pyright: ignore[reportArgumentType]
    )
    slot_index = jax.ShapeDtypeStruct((), jnp.int32, sharding=replicated)
    jitted = jax.jit(write_slot_row, donate_argnums=0, out_shardings=replicated)
    return jitted.lower(state, slot_index, row).compile()


def _precision(config: ResolvedConfig) -> contextlib.AbstractContextManager[Any]:
    """float32 means float32: accelerators would multiply in TF32 or bfloat16 by default."""
    if config.dtype == "float32":
        return jax.default_matmul_precision("highest")
    return contextlib.nullcontext()


def _bytes_per_device(tree: Any) -> int:
    return sum(
        int(np.prod(leaf.sharding.shard_shape(leaf.shape))) * leaf.dtype.itemsize
        for leaf in jax.tree.leaves(tree)
    )


def _sharding_of(leaf: jax.ShapeDtypeStruct) -> jax.sharding.Sharding | None:
    return leaf.sharding
