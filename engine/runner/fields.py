"""Where everything a step is told lies in one int32 array. No jax.

One transfer instead of a dozen: every field is a range of columns of `packed [data shards, X]`,
one line a data shard. With one shard, which is the rule, there is one line.
"""

from __future__ import annotations

import dataclasses
import math

from engine.runner.buckets import Bucket, Variant

ALIGNMENT = 64
"""Every field begins at a multiple of so many columns: 256 bytes, where Mosaic's kernels want their
arguments. XLA (from jax 0.11 on) hands a kernel its part of the packed array without a copy."""

PENDING_TOKEN = -1
"""In place of an id: take the slot's last token, which only the device knows."""


@dataclasses.dataclass(frozen=True, slots=True)
class Field:
    """Columns `[begin, end)` of the packed array, to be seen as `shape`."""

    begin: int
    end: int
    shape: tuple[int, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class StepFields:
    """All fields of one bucket. Shapes are those of one data shard.

    What the sampler is told comes first, and its places depend on the number of rows alone: the
    sampler of so many rows reads the first `num_sampler_columns` of any bucket.

    Attributes:
        slot_R: slot of each row; the trash slot for padding.
        is_sampling_R: 1 or 0.
        parameters_RF: `engine.sampling.pack_parameters` of each row.
        output_position_R: index of the token to sample in its sequence.
        num_output_R: tokens generated before it.
        ban_RB: ids banned in this step, -1 for none.
        token_ids_T, positions_T, row_T, query_starts_R1, kv_lens_R, page_table_RP: a RaggedBatch,
            except that a token id may be `PENDING_TOKEN`.
        target_T: the id each token's logits are scored against; empty but in scoring buckets.
        num_columns: of the packed array.
    """

    slot_R: Field
    is_sampling_R: Field
    parameters_RF: Field
    output_position_R: Field
    num_output_R: Field
    ban_RB: Field
    token_ids_T: Field
    positions_T: Field
    row_T: Field
    query_starts_R1: Field
    kv_lens_R: Field
    page_table_RP: Field
    target_T: Field
    num_columns: int

    @property
    def num_sampler_columns(self) -> int:
        """Columns before those that only the forward pass reads."""
        return self.ban_RB.end


def step_fields(
    bucket: Bucket, *, max_pages: int, num_parameters: int, max_bans: int
) -> StepFields:
    """The fields of a bucket, one after another, each at a multiple of `ALIGNMENT`.

    Args:
        max_pages: columns of the page table.
        num_parameters: of a row of sampling parameters.
        max_bans: ids that can be banned for one row in one step.
    """
    tokens, rows = bucket.num_tokens, bucket.num_rows
    num_targets = tokens if bucket.variant is Variant.PROMPT_LOGPROBS else 0
    shapes: dict[str, tuple[int, ...]] = {
        "slot_R": (rows,),
        "is_sampling_R": (rows,),
        "parameters_RF": (rows, num_parameters),
        "output_position_R": (rows,),
        "num_output_R": (rows,),
        "ban_RB": (rows, max_bans),
        "token_ids_T": (tokens,),
        "positions_T": (tokens,),
        "row_T": (tokens,),
        "query_starts_R1": (rows + 1,),
        "kv_lens_R": (rows,),
        "page_table_RP": (rows, max_pages),
        "target_T": (num_targets,),
    }
    fields: dict[str, Field] = {}
    position = 0
    for name, shape in shapes.items():
        end = position + math.prod(shape)
        fields[name] = Field(position, end, shape)
        position = end + -end % ALIGNMENT
    return StepFields(**fields, num_columns=position)
