"""Usage of a response."""

from __future__ import annotations

from api.services.generation import Usage
from api.services.responses.snapshot import usage_body


def test_usage_has_vllms_fields_beside_openais() -> None:
    body = usage_body(
        Usage(prompt_tokens=7, completion_tokens=5, cached_tokens=4, reasoning_tokens=2)
    )
    assert body == {
        "input_tokens": 7,
        "input_tokens_details": {
            "cached_tokens": 4,
            "cache_write_tokens": 0,
            "input_tokens_per_turn": [],
            "cached_tokens_per_turn": [],
        },
        "output_tokens": 5,
        "output_tokens_details": {
            "reasoning_tokens": 2,
            "tool_output_tokens": 0,
            "output_tokens_per_turn": [],
            "tool_output_tokens_per_turn": [],
        },
        "total_tokens": 12,
    }
