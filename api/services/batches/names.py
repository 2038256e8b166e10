"""States and shape of batches.

validating ──► in_progress ──► finalizing ──► completed
    │               │  └──(24 h)─────────────► expired
    └──► failed     └──(cancel)─► cancelling ► cancelled
"""

from __future__ import annotations

import hashlib
from typing import Any

from api.storage.tables.batches import BatchRow

VALIDATING, FAILED, IN_PROGRESS = "validating", "failed", "in_progress"
FINALIZING, COMPLETED, EXPIRED = "finalizing", "completed", "expired"
CANCELLING, CANCELLED = "cancelling", "cancelled"
ENDED = (FAILED, COMPLETED, EXPIRED, CANCELLED)

WINDOW_S = 24 * 3600
WHAT = "batch"

_TIMES = (
    "in_progress_at",
    "finalizing_at",
    "completed_at",
    "failed_at",
    "expired_at",
    "cancelling_at",
    "cancelled_at",
)


def queue_of(model: str) -> str:
    """The queue of batches that servers of this model run."""
    return "batch:" + hashlib.sha256(model.encode("utf-8", "surrogatepass")).hexdigest()


def batch_body(row: BatchRow) -> dict[str, Any]:
    """A batch as OpenAI writes it."""
    return {
        "id": row.id,
        "object": "batch",
        "endpoint": row.endpoint,
        "model": row.model,
        "errors": None if row.errors is None else {"object": "list", "data": row.errors},
        "input_file_id": row.input_file_id,
        "completion_window": row.completion_window,
        "status": row.status,
        "output_file_id": row.output_file_id,
        "error_file_id": row.error_file_id,
        "created_at": row.created_at,
        "expires_at": row.expires_at,
        **{name: getattr(row, name) for name in _TIMES},
        "request_counts": {
            "total": row.num_total,
            "completed": row.num_completed,
            "failed": row.num_failed,
        },
        "usage": usage_body(row.usage),
        "metadata": row.user_metadata,
    }


def usage_body(usage: dict[str, int] | None) -> dict[str, Any] | None:
    """Sums of tokens as OpenAI nests them."""
    if usage is None:
        return None
    return {
        "input_tokens": usage["input"],
        "input_tokens_details": {"cached_tokens": usage["cached"]},
        "output_tokens": usage["output"],
        "output_tokens_details": {"reasoning_tokens": usage["reasoning"]},
        "total_tokens": usage["input"] + usage["output"],
    }
