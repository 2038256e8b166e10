"""However deltas are cut, a sequence's chunks add up to the same."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.services.generation.output import OutputSettings, SequenceOutput
from engine.request import FinishReason, TokenDelta
from engine.text import Tokenizer


def run(tokenizer: Tokenizer, groups: list[list[int]], how: OutputSettings) -> dict[str, Any]:
    output = SequenceOutput(0, tokenizer, how)
    total: dict[str, Any] = {"text": "", "ids": [], "offsets": [], "end": None}
    for position, group in enumerate(groups):
        is_last = position == len(groups) - 1
        delta = TokenDelta(
            request_id="r",
            token_ids=tuple(group),
            finish_reason=FinishReason.LENGTH if is_last else None,
        )
        chunk = output.push(delta)
        if chunk is not None:
            assert total["end"] is None
            assert chunk.text or chunk.finish_reason
            total["text"] += chunk.text
            total["ids"] += chunk.token_ids
            total["offsets"] += chunk.text_offsets
            if chunk.finish_reason:
                total["end"] = (chunk.finish_reason, chunk.stop_reason, chunk.num_tokens)
    return total


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(st.data())
def test_coalescing_never_changes_what_the_client_gets(
    tokenizer: Tokenizer, data: st.DataObject
) -> None:
    ids = data.draw(st.lists(st.integers(0, 40), min_size=1, max_size=30))
    how = OutputSettings(
        stop=tuple(data.draw(st.lists(st.text("!\"#$%&'", min_size=1, max_size=3), max_size=3))),
        include_stop_str_in_output=data.draw(st.booleans()),
        min_tokens=data.draw(st.integers(0, 5)),
    )
    cuts = sorted(set(data.draw(st.lists(st.integers(1, len(ids)), max_size=8))) | {len(ids)})
    groups = [ids[a:b] for a, b in zip([0, *cuts], cuts, strict=False)]
    assert run(tokenizer, groups, how) == run(tokenizer, [[index] for index in ids], how)


def test_text_offsets_point_at_the_tokens(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("hello wörld one")
    total = run(tokenizer, [[index] for index in ids], OutputSettings())
    for index, offset in zip(total["ids"], total["offsets"], strict=True):
        piece = tokenizer.token_text(index)
        if "\N{REPLACEMENT CHARACTER}" not in piece:
            assert total["text"].startswith(piece, offset)


def test_min_tokens_lets_early_stop_strings_pass(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("one one")
    assert len(ids) == 2
    how = OutputSettings(stop=("one",), min_tokens=1)
    assert run(tokenizer, [ids], how)["text"] == "one "


def test_the_last_token_of_a_complete_output_is_text(tokenizer: Tokenizer) -> None:
    ids = tuple(tokenizer.encode("one two"))
    for ends_in_text in (True, False):
        output = SequenceOutput(0, tokenizer, OutputSettings())
        delta = TokenDelta(
            request_id="r",
            token_ids=ids,
            finish_reason=FinishReason.STOP,
            ends_in_text=ends_in_text,
        )
        chunk = output.push(delta)
        assert chunk is not None
        assert chunk.text == tokenizer.decode(ids if ends_in_text else ids[:-1])
