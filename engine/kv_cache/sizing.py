"""How many pages fit: an exact plan of the device's memory, made once at start.

[ weights | largest temporary of any compiled step | slot state | pages ............ ]
|<------------------------------ usable_bytes ------------------------------------->|
"""

from __future__ import annotations

import dataclasses

from engine.errors import MemoryPlanError

TRASH_PAGES = 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class MemoryDemand:
    """What must fit one device, in bytes.

    Attributes:
        usable_bytes: of the device's memory, after `--gpu-memory-utilization`.
        weight_bytes: the model's own, per device.
        temporary_bytes: the largest of any compiled step (`memory_analysis().temp_size`).
        slot_state_bytes: device state of all slots.
        page_bytes: one page in all layers, per device.
    """

    usable_bytes: int
    weight_bytes: int
    temporary_bytes: int
    slot_state_bytes: int
    page_bytes: int

    @property
    def fixed_bytes(self) -> int:
        """Everything that is not pages."""
        return self.weight_bytes + self.temporary_bytes + self.slot_state_bytes


def num_pages_within(kv_cache_bytes: int, page_bytes: int) -> int:
    """Pages, the trash page included, that so many bytes hold."""
    return kv_cache_bytes // page_bytes


def plan_num_pages(demand: MemoryDemand, *, max_model_len: int, page_size: int) -> int:
    """Pages, the trash page included, in what the rest leaves; one sequence can use them all.

    Raises:
        MemoryPlanError: weights and temporaries alone do not fit, or the pages that are left
            cannot hold one sequence of `max_model_len` tokens. The sentence names the flag.
    """
    kv_cache_bytes = demand.usable_bytes - demand.fixed_bytes
    if kv_cache_bytes < 0:
        raise MemoryPlanError(_too_big(demand))
    num_pages = num_pages_within(kv_cache_bytes, demand.page_bytes)
    verify_num_pages(
        num_pages,
        max_model_len=max_model_len,
        page_size=page_size,
        page_bytes=demand.page_bytes,
        remedy="lower --max-num-batched-tokens or raise --gpu-memory-utilization",
    )
    return num_pages


def num_pages_needed(max_model_len: int, page_size: int) -> int:
    """Pages, the trash page included, that one sequence of `max_model_len` tokens needs."""
    return TRASH_PAGES + -(-max_model_len // page_size)


def verify_num_pages(
    num_pages: int, *, max_model_len: int, page_size: int, page_bytes: int, remedy: str
) -> None:
    """Check that one sequence of `max_model_len` tokens fits so many pages.

    Args:
        remedy: what the operator can do, e.g. "raise --kv-cache-memory-bytes".

    Raises:
        MemoryPlanError: it does not fit; the sentence says how much is there and how much needed.
    """
    num_needed = num_pages_needed(max_model_len, page_size)
    if num_pages >= num_needed:
        return
    longest = max(0, num_pages - TRASH_PAGES) * page_size
    raise MemoryPlanError(
        f"one sequence of --max-model-len {max_model_len} tokens needs {num_needed} KV pages "
        f"({num_needed * page_bytes} bytes), but only {num_pages} ({num_pages * page_bytes} "
        f"bytes) fit: lower --max-model-len to {longest} or less, or {remedy}"
        if longest
        else f"no KV page of {page_bytes} bytes is left for sequences ({num_pages} fit, the first "
        f"is the trash page, {num_needed} are needed): {remedy}"
    )


def _too_big(demand: MemoryDemand) -> str:
    missing_bytes = demand.fixed_bytes - demand.usable_bytes
    return (
        f"weights ({demand.weight_bytes} bytes), the largest step's temporaries "
        f"({demand.temporary_bytes} bytes) and slot state ({demand.slot_state_bytes} bytes) exceed "
        f"the {demand.usable_bytes} usable bytes of the device by {missing_bytes}: lower "
        f"{_largest_flag(demand)}, or raise --gpu-memory-utilization"
    )


def _largest_flag(demand: MemoryDemand) -> str:
    """The flag that governs what would have to shrink: temporaries, slot state, else weights."""
    missing_bytes = demand.fixed_bytes - demand.usable_bytes
    if demand.temporary_bytes >= max(missing_bytes, demand.slot_state_bytes):
        return "--max-num-batched-tokens"
    if demand.slot_state_bytes >= missing_bytes:
        return "--max-num-seqs"
    return "the model's size (a smaller --model or --dtype)"
