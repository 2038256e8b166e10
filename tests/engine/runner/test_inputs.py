"""What a plan looks like once it is packed."""

from __future__ import annotations

import numpy as np

from engine.request import GenerateRequest, SamplingParams
from engine.runner.buckets import Bucket, Demand, Variant
from engine.runner.fields import PENDING_TOKEN, StepFields, step_fields
from engine.runner.inputs import RowTable, SlotTable, demand_of, pack_sampler, pack_step
from engine.sampling import pack_parameters
from engine.sampling.parameters import NUM_PARAMETER_FIELDS
from engine.scheduler.plan import PlannedRow, StepPlan
from engine.sequence import Sequence

NUM_SLOTS, MAX_PAGES, EOS = 4, 3, (2,)


def row_of(
    slot: int, start: int, num_new: int, *, is_pending: bool = False, scoring=False, **sampling
) -> PlannedRow:
    request = GenerateRequest(
        request_id="a",
        prompt_token_ids=(10, 11, 12, 13, 14),
        sampling=SamplingParams(**({"max_tokens": 9, "temperature": 0.0} | sampling)),
    )
    sequence = Sequence.from_request(request, 0)
    sequence.token_ids += [20, 21]
    is_sampling = start + num_new >= 5
    return PlannedRow(
        sequence, slot, start, num_new, is_sampling, True, is_pending, [1], 1, scoring
    )


def packed_views(
    rows: list[PlannedRow], variant: Variant = Variant.FULL
) -> tuple[dict[str, np.ndarray], SlotTable]:
    slots = SlotTable(NUM_SLOTS, EOS)
    for row in rows:
        slots.take(row)
    bucket = Bucket(16, 8, variant, is_decode=False)
    fields = step_fields(
        bucket, max_pages=MAX_PAGES, num_parameters=NUM_PARAMETER_FIELDS, max_bans=4
    )
    page_table_SP = np.arange((NUM_SLOTS + 1) * MAX_PAGES, dtype=np.int32).reshape(-1, MAX_PAGES)
    shards = [RowTable(rows)]
    packed = pack_step(shards, StepPlan(0, tuple(rows), page_table_SP), fields, slots)
    packed[:, : fields.num_sampler_columns] = pack_sampler(packed, shards, fields, slots)
    return views(packed[0], fields), slots


def views(line: np.ndarray, fields: StepFields) -> dict[str, np.ndarray]:
    names = [name for name in StepFields.__slots__ if name != "num_columns"]
    return {
        name: line[getattr(fields, name).begin : getattr(fields, name).end].reshape(
            getattr(fields, name).shape
        )
        for name in names
    }


def test_tokens_lie_one_row_after_another_and_padding_comes_last() -> None:
    view, _ = packed_views([row_of(2, 1, 3), row_of(0, 6, 1), row_of(3, 0, 2)])
    assert view["token_ids_T"].tolist() == [11, 12, 13, 21, 10, 11] + [0] * 10
    assert view["positions_T"].tolist() == [1, 2, 3, 6, 0, 1] + [-1] * 10
    assert view["row_T"].tolist() == [0, 0, 0, 1, 2, 2] + [0] * 10
    assert view["query_starts_R1"].tolist() == [0, 3, 4, 6] + [6] * 5


def test_padding_rows_are_empty_and_use_the_trash_slot() -> None:
    view, slots = packed_views([row_of(2, 1, 3)])
    assert view["slot_R"].tolist() == [2] + [slots.trash_slot] * 7
    assert view["kv_lens_R"].tolist() == [4] + [0] * 7
    assert view["is_sampling_R"].tolist() == [0] * 8
    assert not view["page_table_RP"][1:].any()


def test_a_pending_token_is_taken_from_the_device() -> None:
    view, _ = packed_views([row_of(1, 7, 1, is_pending=True)])
    assert view["token_ids_T"][0] == PENDING_TOKEN
    assert view["positions_T"][0] == 7


def test_pages_are_gathered_by_slot() -> None:
    view, _ = packed_views([row_of(3, 0, 2), row_of(1, 0, 1)])
    assert view["page_table_RP"][:2].tolist() == [[9, 10, 11], [3, 4, 5]]


def test_sampling_fields_say_where_the_sequence_stands() -> None:
    row = row_of(1, 5, 1, temperature=0.5, seed=9)
    view, _ = packed_views([row])
    assert view["is_sampling_R"][0] == 1
    assert view["output_position_R"][0] == 6
    assert view["num_output_R"][0] == 1
    assert view["parameters_RF"][0].tolist() == pack_parameters(row.sequence, EOS).tolist()


def test_bans_are_asked_for_where_there_are_bad_words_of_several_tokens() -> None:
    view, _ = packed_views(
        [row_of(0, 6, 1, bad_words_token_ids=((20, 21, 5), (7,))), row_of(1, 6, 1)]
    )
    assert view["ban_RB"][0].tolist() == [5, -1, -1, -1]
    assert (view["ban_RB"][1:] == -1).all()


def test_scoring_rows_are_scored_against_what_follows() -> None:
    rows = [row_of(0, 6, 1), row_of(1, 1, 3, scoring=True)]
    view, _ = packed_views(rows, Variant.PROMPT_LOGPROBS)
    assert view["target_T"].tolist() == [0, 12, 13, 14] + [0] * 12


def test_every_step_gets_an_array_of_its_own() -> None:
    first, _ = packed_views([row_of(0, 0, 1)])
    second, _ = packed_views([row_of(0, 0, 1)])
    assert not np.shares_memory(first["token_ids_T"], second["token_ids_T"])


def demand(rows: list[PlannedRow]) -> Demand:
    slots = SlotTable(NUM_SLOTS, EOS)
    for row in rows:
        slots.take(row)
    return demand_of([RowTable(rows)], slots)


def test_a_plan_of_greedy_rows_needs_no_sampler() -> None:
    assert demand([row_of(0, 6, 1), row_of(1, 6, 1)]) == Demand(2, 2, Variant.GREEDY, True)


def test_one_sampling_row_makes_it_full() -> None:
    rows = [row_of(0, 6, 1), row_of(1, 6, 1, temperature=1.0)]
    assert demand(rows).variant is Variant.FULL


def test_a_row_that_does_not_sample_yet_asks_for_no_sampler() -> None:
    assert demand([row_of(0, 0, 3, temperature=1.0)]) == Demand(3, 1, Variant.GREEDY, False)


def test_one_scoring_row_asks_for_scores() -> None:
    rows = [row_of(0, 6, 1), row_of(1, 0, 3, scoring=True)]
    assert demand(rows) == Demand(4, 2, Variant.PROMPT_LOGPROBS, False)


def test_every_field_begins_where_a_kernel_may_be_handed_it() -> None:
    bucket = Bucket(24, 3, Variant.PROMPT_LOGPROBS, is_decode=False)
    fields = step_fields(bucket, max_pages=5, num_parameters=NUM_PARAMETER_FIELDS, max_bans=3)
    names = [name for name in StepFields.__slots__ if name != "num_columns"]
    assert all(getattr(fields, name).begin % 64 == 0 for name in names)
