"""Streaming text equals the text of the whole sequence."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.text import IncrementalDetokenizer, Tokenizer


def stream(tokenizer: Tokenizer, ids: list[int], *, skip: bool = True) -> str:
    detokenizer = IncrementalDetokenizer(tokenizer, skip_special_tokens=skip)
    return "".join(map(detokenizer.push, ids)) + detokenizer.flush()


@settings(max_examples=200)
@given(st.data(), st.booleans())
def test_any_ids_stream_to_what_the_library_decodes(
    tokenizer: Tokenizer, data: st.DataObject, skip: bool
) -> None:
    ids = data.draw(st.lists(st.integers(0, tokenizer.vocab_size - 1), max_size=30))
    assert stream(tokenizer, ids, skip=skip) == tokenizer.decode(ids, skip_special_tokens=skip)


@pytest.mark.parametrize("kind", ["byte_level", "byte_fallback", "word_piece"])
@pytest.mark.parametrize("text", ["hello hello", "hello 你好 🙂 नमस्ते שלום", "a  b\n"])
def test_every_make_up_streams_its_text(
    tokenizers_by_kind: dict[str, Tokenizer], kind: str, text: str
) -> None:
    tokenizer = tokenizers_by_kind[kind]
    ids = tokenizer.encode(text)
    assert stream(tokenizer, ids).lstrip() == tokenizer.decode(ids).lstrip()


def test_generated_text_keeps_its_first_space(tokenizers_by_kind: dict[str, Tokenizer]) -> None:
    tokenizer = tokenizers_by_kind["byte_fallback"]
    first = tokenizer.token_id("▁he")
    assert first is not None
    assert stream(tokenizer, [first]) == " he"


def test_a_character_is_given_when_its_last_byte_comes(tokenizer: Tokenizer) -> None:
    detokenizer = IncrementalDetokenizer(tokenizer)
    ids = tokenizer.encode("ẞ")
    assert len(ids) > 1
    assert [detokenizer.push(index) for index in ids] == [""] * (len(ids) - 1) + ["ẞ"]


def test_a_character_cut_off_at_the_end_reads_as_one_replacement(tokenizer: Tokenizer) -> None:
    assert stream(tokenizer, tokenizer.encode("aẞ")[:-1]) == "a\N{REPLACEMENT CHARACTER}"


def test_offsets_point_at_each_tokens_text(tokenizer: Tokenizer) -> None:
    detokenizer = IncrementalDetokenizer(tokenizer)
    text = "hello world 你"
    for index in tokenizer.encode(text):
        offset = detokenizer.num_characters
        piece = detokenizer.push(index)
        assert text[offset : offset + len(piece)] == piece
    assert detokenizer.num_characters == len(text)


def test_special_tokens_are_left_out_only_when_asked(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("a<|end|>b<note>")
    assert stream(tokenizer, ids) == "ab<note>"
    assert stream(tokenizer, ids, skip=False) == "a<|end|>b<note>"


def test_an_id_beyond_the_tokenizer_gives_no_text(tokenizer: Tokenizer) -> None:
    assert stream(tokenizer, [10**6]) == ""
