"""The benchmark of batches: its lines are lines, its figures what they say."""

from __future__ import annotations

from api.batch_lines import parse_line
from bench.batch import latency, lines


def test_the_lines_are_requests_of_a_batch_and_no_two_are_alike() -> None:
    chats = lines.conversations(500, 6, seed=1)
    rows = lines.jsonl(chats, "some-model", 32).splitlines()
    requests = [parse_line(row, (lines.CHAT,), strict_fields=True) for row in rows]
    assert len({request.custom_id for request in requests}) == 500
    assert len({chat[0]["content"] for chat in chats}) == 500
    assert requests[7].body["messages"] == chats[7]


def test_a_ratio_compares_the_arm_with_a_batch_to_both_without() -> None:
    samples: latency.Samples = {
        "alone": {"ttft_ms": [10.0] * 20, "inter_token_ms": [2.0] * 20},
        "beside a batch": {"ttft_ms": [22.0] * 20, "inter_token_ms": [3.0] * 19 + [12.0]},
        "alone again": {"ttft_ms": [30.0] * 20, "inter_token_ms": [4.0] * 20},
    }
    report = latency.report(samples)
    ratio, of_the_machine = report["ratio"], report["ratio of the machine to itself"]
    assert ratio["ttft_ms"]["p50"] == ratio["ttft_ms"]["mean"] == 1.1
    assert (ratio["inter_token_ms"]["p50"], ratio["inter_token_ms"]["max"]) == (1.0, 3.0)
    assert of_the_machine["ttft_ms"]["p95"] == 3.0
