"""A plan as one packed array: vectorised over rows, with what is constant kept per slot.

rows of the plan ──► slot, start, end, flags      one small table a step
slots            ──► parameters, prompt length     written when a slot changes hands
plan.page_table_SP ► page table                    gathered by slot
"""

from __future__ import annotations

from collections.abc import Sequence as Items

import numpy as np
import numpy.typing as npt

from engine.grammar.guided import is_guided
from engine.prompt_embeds import embedding_rows, num_embedded_tokens
from engine.runner.buckets import Demand, Variant
from engine.runner.fields import PENDING_TOKEN, Field, StepFields
from engine.sampling import bad_word_bans, is_greedy_only, pack_parameters
from engine.sampling.parameters import NUM_PARAMETER_FIELDS
from engine.scheduler.plan import PlannedRow, StepPlan

Ints = npt.NDArray[np.int32]


class SlotTable:
    """What is constant while a sequence holds a slot. Row S is the trash slot."""

    def __init__(self, num_slots: int, eos_token_ids: tuple[int, ...]) -> None:
        self._eos_token_ids = eos_token_ids
        self.parameters_SF: Ints = np.zeros((num_slots + 1, NUM_PARAMETER_FIELDS), np.int32)
        self.num_prompt_S: Ints = np.zeros(num_slots + 1, np.int32)
        self.is_greedy_S = np.ones(num_slots + 1, np.bool_)
        self.has_bans_S = np.zeros(num_slots + 1, np.bool_)
        self.num_embedded_S: Ints = np.zeros(num_slots + 1, np.int32)

    @property
    def trash_slot(self) -> int:
        """The slot of padding rows."""
        return len(self.num_prompt_S) - 1

    def take(self, row: PlannedRow) -> None:
        """Note the new owner of a slot."""
        slot, sequence = row.slot_index, row.sequence
        sampling = sequence.sampling
        self.parameters_SF[slot] = pack_parameters(sequence, self._eos_token_ids)
        self.num_prompt_S[slot] = sequence.num_prompt_tokens
        self.is_greedy_S[slot] = is_greedy_only(sampling) and not is_guided(sequence.request)
        self.has_bans_S[slot] = any(len(word) > 1 for word in sampling.bad_words_token_ids)
        self.num_embedded_S[slot] = num_embedded_tokens(sequence.request)


class RowTable:
    """Numbers of a data shard's rows, as columns."""

    def __init__(self, rows: Items[PlannedRow]) -> None:
        self.rows = rows
        table = np.array(
            [(row.slot_index, row.start, row.num_new_tokens, row.is_sampling) for row in rows],
            np.int32,
        ).reshape(len(rows), 4)
        self.slot_R, self.start_R, self.num_new_R, self.is_sampling_R = table.T
        self.end_R: Ints = self.start_R + self.num_new_R
        self.num_tokens = int(self.num_new_R.sum())


def demand_of(shards: Items[RowTable], slots: SlotTable) -> Demand:
    """What a plan needs of a bucket: the most that any data shard needs."""
    if any(row.is_scoring for shard in shards for row in shard.rows):
        variant = Variant.PROMPT_LOGPROBS
    elif all(
        bool(np.all(slots.is_greedy_S[shard.slot_R] | (shard.is_sampling_R == 0)))
        for shard in shards
    ):
        variant = Variant.GREEDY
    else:
        variant = Variant.FULL
    return Demand(
        num_tokens=max(shard.num_tokens for shard in shards),
        num_rows=max(len(shard.rows) for shard in shards),
        variant=variant,
        is_decode=all(
            shard.num_tokens == len(shard.rows) and not _embedded_rows(shard, slots).any()
            for shard in shards
        ),
    )


def _embedded_rows(shard: RowTable, slots: SlotTable) -> npt.NDArray[np.bool_]:
    """Which rows have embeddings among the tokens they compute."""
    return shard.start_R < slots.num_embedded_S[shard.slot_R]


def pack_embeds(
    shards: Items[RowTable], num_tokens: int, width: int, slots: SlotTable
) -> npt.NDArray[np.float32] | None:
    """Embeddings of a step, float32 `[data shards * num_tokens, width]`; None when it has none.

    Args:
        num_tokens: of the bucket: where the tokens of the next data shard begin.
    """
    embedded = [_embedded_rows(shard, slots) for shard in shards]
    if not any(rows.any() for rows in embedded):
        return None
    embeds_TD = np.zeros((len(shards) * num_tokens, width), np.float32)
    for shard_index, (shard, is_embedded_R) in enumerate(zip(shards, embedded, strict=True)):
        first_token_R = shard_index * num_tokens + np.cumsum(shard.num_new_R) - shard.num_new_R
        for row_index in np.flatnonzero(is_embedded_R).tolist():
            row, first = shard.rows[row_index], int(first_token_R[row_index])
            embeds = row.sequence.request.prompt_embeds
            assert embeds is not None
            rows = embedding_rows(embeds, row.start, min(row.end, embeds.num_tokens))
            embeds_TD[first : first + len(rows)] = rows
    return embeds_TD


def pack_step(
    shards: Items[RowTable], plan: StepPlan, fields: StepFields, slots: SlotTable
) -> Ints:
    """The packed array of a step, int32 `[data shards, fields.num_columns]`.

    It is made anew for every step: jax may read it while the next one is packed.
    """
    packed = np.zeros((len(shards), fields.num_columns), np.int32)
    for line, shard in zip(packed, shards, strict=True):
        _pack_padding(line, fields, slots.trash_slot)
        if shard.rows:
            _pack_tokens(line, fields, shard)
            _pack_rows(line, fields, shard, slots)
            _pack_pages(line, fields, shard, plan.page_table_SP)
            _pack_targets(line, fields, shard)
    return packed


def pack_sampler(
    packed: Ints, shards: Items[RowTable], fields: StepFields, slots: SlotTable
) -> Ints:
    """The columns of a packed step that its sampler reads, with the ids that are banned by what
    was generated last: everything before must be settled if some row has such bans."""
    columns = packed[:, : fields.num_sampler_columns].copy()
    for line, shard in zip(columns, shards, strict=True):
        _pack_bans(line, fields, shard, slots)
    return columns


def _view(line: Ints, field: Field) -> Ints:
    return line[field.begin : field.end].reshape(field.shape)


def _pack_padding(line: Ints, fields: StepFields, trash_slot: int) -> None:
    _view(line, fields.positions_T)[:] = -1
    _view(line, fields.slot_R)[:] = trash_slot
    _view(line, fields.ban_RB)[:] = -1


def _pack_tokens(line: Ints, fields: StepFields, shard: RowTable) -> None:
    """Ids, positions and rows of tokens; row r owns `[starts[r], starts[r + 1])`."""
    num_rows, num_tokens = len(shard.rows), shard.num_tokens
    starts = _view(line, fields.query_starts_R1)
    np.cumsum(shard.num_new_R, out=starts[1 : num_rows + 1])
    starts[num_rows + 1 :] = num_tokens
    row_T = np.repeat(np.arange(num_rows, dtype=np.int32), shard.num_new_R)
    offset_R = shard.start_R - starts[:num_rows]
    _view(line, fields.row_T)[:num_tokens] = row_T
    _view(line, fields.positions_T)[:num_tokens] = (
        np.arange(num_tokens, dtype=np.int32) + offset_R[row_T]
    )
    _view(line, fields.token_ids_T)[:num_tokens] = _token_ids(shard.rows)


def _token_ids(rows: Items[PlannedRow]) -> list[int]:
    token_ids: list[int] = []
    for row in rows:
        if row.uses_pending_token:
            token_ids.append(PENDING_TOKEN)
        elif row.num_new_tokens == 1:
            token_ids.append(row.sequence.token_ids[row.start])
        else:
            token_ids.extend(row.sequence.token_ids[row.start : row.end])
    return token_ids


def _pack_rows(line: Ints, fields: StepFields, shard: RowTable, slots: SlotTable) -> None:
    num_rows = len(shard.rows)
    _view(line, fields.slot_R)[:num_rows] = shard.slot_R
    _view(line, fields.kv_lens_R)[:num_rows] = shard.end_R
    _view(line, fields.is_sampling_R)[:num_rows] = shard.is_sampling_R
    _view(line, fields.parameters_RF)[:num_rows] = slots.parameters_SF[shard.slot_R]
    _view(line, fields.output_position_R)[:num_rows] = shard.end_R
    _view(line, fields.num_output_R)[:num_rows] = shard.end_R - slots.num_prompt_S[shard.slot_R]


def _pack_pages(line: Ints, fields: StepFields, shard: RowTable, page_table_SP: Ints) -> None:
    view = _view(line, fields.page_table_RP)
    np.take(page_table_SP, shard.slot_R, axis=0, out=view[: len(shard.rows)], mode="clip")


def _pack_bans(line: Ints, fields: StepFields, shard: RowTable, slots: SlotTable) -> None:
    view = _view(line, fields.ban_RB)
    has_bans_R = slots.has_bans_S[shard.slot_R] & (shard.is_sampling_R != 0)
    for row_index in np.flatnonzero(has_bans_R).tolist():
        bans = bad_word_bans(shard.rows[row_index].sequence)
        view[row_index, : len(bans)] = bans


def _pack_targets(line: Ints, fields: StepFields, shard: RowTable) -> None:
    """What follows each token of a scoring row: its logits are scored against it."""
    view = _view(line, fields.target_T)
    starts = _view(line, fields.query_starts_R1)
    for row_index, row in enumerate(shard.rows):
        if row.is_scoring:
            following = row.sequence.token_ids[row.start + 1 : row.end + 1]
            view[starts[row_index] : starts[row_index] + len(following)] = following
