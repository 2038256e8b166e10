from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from llguidance import LLMatcher
from tokenizers import AddedToken, decoders, models, pre_tokenizers
from tokenizers import Tokenizer as Backend

from engine.errors import InvalidParameterError, SequenceError
from engine.grammar.compile import compile_grammar
from engine.grammar.guide import Guide
from engine.grammar.sources import from_choice
from engine.grammar.vocabulary import make_vocabulary
from engine.request import GenerateRequest, Grammar, SamplingParams
from engine.text.tokenizer import Tokenizer

VOCAB_SIZE, EOS = 1100, 0
BYTES = {char: i for i, char in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
DATE = r"[0-9]{4}-(0[1-9]|1[0-2])"
ANY_ID = set(range(VOCAB_SIZE))
ANY_BUT_THE_END = ANY_ID - {EOS}


def begins_a_date(text: str) -> bool:
    """Whether some ending makes it a date, by trying."""
    full = "2000-01"
    return any(re.fullmatch(DATE, text + tail) for tail in (full[len(text) :], "2", "-10", ""))


def test_a_mask_has_exactly_the_tokens_that_leave_a_valid_beginning(
    follow: Any, tokenizer: Tokenizer
) -> None:
    sequence = follow(LLMatcher.grammar_from_regex(DATE))
    text = ""
    while text != "2026-12":
        allowed = sequence.allowed()
        by_trying = {
            index
            for index in range(tokenizer.vocab_size)
            if index not in tokenizer.added_ids
            and (piece := tokenizer.token_bytes(index))
            and begins_a_date(text + piece.decode("latin-1"))
        }
        assert allowed == by_trying
        chosen = next(i for i in allowed if "2026-12".startswith(text + tokenizer.token_text(i)))
        text += tokenizer.token_text(chosen)
        sequence.push(chosen)
    assert sequence.allowed() == {EOS}
    assert sequence.guide.is_complete


def test_ids_beyond_the_tokenizer_are_never_allowed(follow: Any, tokenizer: Tokenizer) -> None:
    allowed = follow(LLMatcher.grammar_from_regex(r"(?s:.*)")).allowed()
    assert max(allowed) < tokenizer.vocab_size


@pytest.mark.parametrize(
    "source", ['start: "<|im_end|>b"', "start: /<\\|im_end\\|>b/", from_choice(["<|im_end|>b"])]
)
def test_a_special_token_s_name_in_a_string_is_text_and_bare_it_is_the_token(
    follow: Any, tokenizer: Tokenizer, source: str
) -> None:
    written = {tokenizer.token_text(index) for index in follow(source).allowed()}
    assert written
    assert all("<|im_end|>b".startswith(text) for text in written)
    assert "<|im_end|>" not in written
    (token,) = follow('start: <|im_end|> "b"').allowed()
    assert token in tokenizer.special_ids


def test_the_grammar_waits_for_the_end_of_the_reasoning(follow: Any, tokenizer: Tokenizer) -> None:
    sequence = follow('start: "7"', begins_after=((8, 9), (10,)))
    seven = tokenizer.encode("7", add_special_tokens=False)[0]
    assert sequence.allowed() == ANY_BUT_THE_END
    sequence.push(8, 11)
    assert sequence.allowed() == ANY_BUT_THE_END
    sequence.push(8, 9)
    assert sequence.allowed() == {seven}
    sequence.push(seven)
    assert sequence.allowed() == {EOS}


def test_the_prompt_opens_no_gate(follow: Any) -> None:
    sequence = follow('start: "7"', begins_after=((7, 8),))
    sequence.push(8)
    assert sequence.allowed() == ANY_BUT_THE_END


def test_an_output_that_goes_on_is_followed_first(vocabulary: Any, tokenizer: Tokenizer) -> None:
    grammar = Grammar(source='start: "75"', begins_after=((8,),))
    seven, five = (tokenizer.encode(d, add_special_tokens=False)[0] for d in "75")
    prompt, output = (8, seven), (9, 8, seven)
    request = GenerateRequest(
        request_id="r",
        prompt_token_ids=(*prompt, *output),
        num_continued_tokens=len(output),
        sampling=SamplingParams(max_tokens=1),
        grammar=grammar,
    )
    guide = Guide(request, vocabulary, compile_grammar(grammar, vocabulary).deep_copy())
    words = np.zeros(guide.num_words, np.uint32)
    guide.fill(words)
    allowed = {i for i in range(VOCAB_SIZE) if words[i // 32] >> np.uint32(i % 32) & np.uint32(1)}
    assert allowed == {five}


def test_a_token_the_grammar_forbids_is_an_error_of_the_sequence(follow: Any) -> None:
    sequence = follow('start: "7"')
    with pytest.raises(SequenceError):
        sequence.push(500)


def test_ignore_eos_keeps_a_repetition_going(follow: Any, tokenizer: Tokenizer) -> None:
    one = tokenizer.encode("1", add_special_tokens=False)[0]
    sequences = [follow("start: /1{1,2}/", ignore_eos=ignores) for ignores in (False, True)]
    for sequence in sequences:
        sequence.push(one)
    assert [EOS in sequence.allowed() for sequence in sequences] == [True, False]
    sequences[1].push(one)
    assert sequences[1].allowed() == {EOS}
    sequences[1].push(EOS, EOS)
    assert sequences[1].allowed() == {EOS}


@pytest.mark.parametrize("special", [True, False], ids=["special", "added"])
def test_the_names_of_added_tokens_in_a_text_can_be_written(special: bool) -> None:
    """A grammar that leaves but one text once admitted tokens that its matcher then refused."""
    backend = Backend(models.BPE(vocab=BYTES, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(["<end>"])
    backend.add_tokens([AddedToken("<tool_call>", special=special)])
    tokenizer = Tokenizer(backend)
    end, added = len(BYTES), len(BYTES) + 1
    vocabulary = make_vocabulary(tokenizer, added + 1, (end,))
    text = "a<tool_call>b<end>"
    grammar = Grammar(source=from_choice([text]), param="choice")
    matcher = compile_grammar(grammar, vocabulary)
    token_ids: list[int] = []
    while not matcher.is_stopped():
        mask_W = np.frombuffer(matcher.compute_bitmask(), np.uint32)
        allowed = [i for i in range(added + 1) if mask_W[i // 32] >> np.uint32(i % 32) & 1]
        token_ids.append(allowed[-1])
        assert matcher.consume_token(allowed[-1])
    assert tokenizer.decode(token_ids, skip_special_tokens=False) == text
    assert (added in token_ids) is not special
    assert end not in token_ids


def test_a_grammar_that_grows_too_complex_further_on_is_the_clients_error(follow: Any) -> None:
    sequence = follow(LLMatcher.grammar_from_regex("(a?){500}a{500}"))

    def go_on() -> None:
        for _ in range(600):
            sequence.push(min(sequence.allowed() - {EOS}))

    with pytest.raises(InvalidParameterError, match="too complex") as caught:
        go_on()
    assert caught.value.param == "structured_outputs"


def test_a_grammar_with_too_many_ways_to_go_on_is_the_clients_error(follow: Any) -> None:
    pairs = range(3000)
    start = "start: " + " ".join(f"(a{i} | b{i})" for i in pairs)
    sequence = follow("\n".join([start, *(f'a{i}: "x"+\nb{i}: "x"+' for i in pairs)]))
    (only,) = sequence.allowed()
    with pytest.raises(InvalidParameterError, match="too complex"):
        sequence.push(only)


def test_an_output_is_whole_wherever_it_may_end(follow: Any, tokenizer: Tokenizer) -> None:
    sequence = follow(LLMatcher.grammar_from_regex("ab?c?"))
    assert not sequence.guide.is_whole
    for letter in "abc":
        sequence.push(*tokenizer.encode(letter, add_special_tokens=False))
        assert sequence.guide.is_whole
    late = follow(LLMatcher.grammar_from_regex("a*"), begins_after=((9,),))
    assert not late.guide.is_whole, "thoughts come first"
