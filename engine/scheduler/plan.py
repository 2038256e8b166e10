"""What one step computes: the value the scheduler hands to the runner.

Three things the runner must know, all for the sake of microseconds:

    1. `PlannedRow.page_ids` is the sequence's own list, not a copy. Pages are only ever appended
       to it, and a new list replaces it when pages are given back, so the pages of a row are
       `page_ids[:num_pages]` for ever; right after `schedule` that is the whole list.
    2. `StepPlan.page_table_SP` already holds those ids, one row a slot, zeros after the last page,
       and one more row of zeros for the trash slot. Gather it with the rows' slots:
       `plan.page_table_SP[slot_R, :num_columns]`. It is the scheduler's live array: pack it in
       `launch`, before the scheduler is called again.
    3. The step needs the variant that scores prompts exactly when some row `is_scoring`; only for
       those rows are `RowResult.prompt_logprobs` read (not for every row of a request that asks).
"""

from __future__ import annotations

import msgspec
import numpy as np
import numpy.typing as npt

from engine.request import TokenLogprobs
from engine.sequence import Sequence


class PlannedRow(msgspec.Struct, frozen=True, eq=False, gc=False):
    """One sequence's share of a step, fixed at planning time.

    The step computes tokens `[start, start + num_new_tokens)` of the sequence and, when
    `is_sampling`, samples the token at position `start + num_new_tokens`.

    Attributes:
        sequence: identity only; counters in it move on while the step runs. Use the fields here.
        slot_index: row of device state.
        is_new_slot: the slot was given to this sequence in this plan: device state must be set.
        uses_pending_token: the one token to compute is still on the device (slot state), the host
            does not know it yet; only with `num_new_tokens == 1`.
        page_ids: the sequence's live list; its first `num_pages` cover `[0, end)`.
        num_pages: pages covering `[0, start + num_new_tokens)`.
        is_scoring: the prompt tokens after these are to be scored (`RowResult.prompt_logprobs`).
    """

    sequence: Sequence
    slot_index: int
    start: int
    num_new_tokens: int
    is_sampling: bool
    is_new_slot: bool
    uses_pending_token: bool
    page_ids: list[int]
    num_pages: int
    is_scoring: bool = False

    @property
    def end(self) -> int:
        """Tokens in pages after the step."""
        return self.start + self.num_new_tokens


class StepPlan(msgspec.Struct, frozen=True, eq=False):
    """Rows of one step, in the order the runner packs them.

    Attributes:
        needs_settled: what some row may choose depends on tokens of the steps before: they must be
            settled before the tokens of this one are chosen (`StepHandle.sample`).
        page_table_SP: int32 `[max_num_seqs + 1, pages of max_model_len]`, live; see the module.
    """

    step_index: int
    rows: tuple[PlannedRow, ...]
    page_table_SP: npt.NDArray[np.int32]
    needs_settled: bool = False

    @property
    def num_tokens(self) -> int:
        """Tokens computed by the step."""
        return sum(row.num_new_tokens for row in self.rows)


class StepLimits(msgspec.Struct, frozen=True):
    """The largest step that is compiled at this moment, told by the runner before each plan.

    Attributes:
        max_rows: sequences in one step.
        max_tokens: tokens in one step.
        has_prompt_logprobs: whether the step variant that scores prompts is compiled.
    """

    max_rows: int
    max_tokens: int
    has_prompt_logprobs: bool


class RowResult(msgspec.Struct, frozen=True, eq=False, gc=False):
    """What one row of a step gave, on the host. Written by the runner, read by `settle`.

    Attributes:
        token_id: the sampled id; None when the row did not sample.
        is_invalid: logits were NaN or nothing could be sampled: the sequence ends with an error.
        logprobs: raw log-softmax at the sampled position, when the sequence asked for it.
        prompt_logprobs: for a row that `is_scoring`: scores of the prompt tokens at positions
            [start + 1, min(end + 1, num_prompt_tokens)), in order.
    """

    token_id: int | None
    is_invalid: bool = False
    logprobs: TokenLogprobs | None = None
    prompt_logprobs: tuple[TokenLogprobs, ...] = ()
