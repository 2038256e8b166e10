"""Usage of a response."""

from __future__ import annotations

from api.services.generation.usage import Usage
from api.services.responses.objects.snapshot import usage_body


def test_usage_has_vllms_fields_beside_openais() -> None:
    body = usage_body(
        [Usage(prompt_tokens=7, completion_tokens=5, cached_tokens=4, reasoning_tokens=2)]
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


def test_turns_are_told_apart_and_the_rest_of_a_prompt_is_what_tools_gave() -> None:
    turns = [
        Usage(prompt_tokens=7, completion_tokens=5),
        Usage(prompt_tokens=20, completion_tokens=3, cached_tokens=12),
    ]
    body = usage_body(turns)
    assert (body["input_tokens"], body["output_tokens"], body["total_tokens"]) == (27, 8, 35)
    assert body["input_tokens_details"]["input_tokens_per_turn"] == [7, 20]
    assert body["input_tokens_details"]["cached_tokens_per_turn"] == [0, 12]
    details = body["output_tokens_details"]
    assert details["output_tokens_per_turn"] == [5, 3]
    assert (details["tool_output_tokens"], details["tool_output_tokens_per_turn"]) == (8, [8])
