"""Ids within a response follow from its own, so that whoever takes a response over after a crash
writes the same ones again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

PREFIXES = {
    "message": "msg_",
    "reasoning": "rs_",
    "function_call": "fc_",
    "custom_tool_call": "ctc_",
    "function_call_output": "fco_",
    "custom_tool_call_output": "ctco_",
    "compaction": "cmp_",
    "mcp_list_tools": "mcpl_",
    "mcp_call": "mcp_",
    "mcp_approval_request": "mcpr_",
    "mcp_approval_response": "mcpar_",
}
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SHORT = 9


def item_id(response_id: str, kind: str, index: int, *, is_input: bool = False) -> str:
    """The id of the response's item at `index` of its output, or of its input."""
    side = "i" if is_input else ""
    return f"{PREFIXES[kind]}{response_id.removeprefix('resp_')}{side}{index:04x}"


def call_ids(response_id: str, sample: str) -> Callable[[], str]:
    """Makes ids of calls, one after the other.

    Arguments:
        sample: an id as the model's format wants them.
    """
    count = 0

    def make() -> str:
        nonlocal count
        count += 1
        digest = hashlib.sha256(f"{response_id}:{count}".encode())
        if len(sample) == _SHORT:
            number = int.from_bytes(digest.digest())
            return "".join(_ALPHABET[number // 62**place % 62] for place in range(_SHORT))
        return f"call_{digest.hexdigest()[:24]}"

    return make
