"""Grammars in the running engine: valid outputs, unchanged neighbours, no compilation."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest

from engine import LLM
from engine.errors import InvalidParameterError
from engine.grammar.sources import JsonOptions, from_choice, from_json_schema, from_regex
from engine.request import Grammar, SamplingParams

SCHEMA = {
    "type": "object",
    "properties": {
        "color": {"enum": ["red", "green"]},
        "n": {"type": "integer", "minimum": 0, "maximum": 99},
        "tags": {"type": "array", "items": {"type": "boolean"}, "maxItems": 3},
    },
    "required": ["color", "n", "tags"],
    "additionalProperties": False,
}
SOURCES = {
    "json_schema": from_json_schema(SCHEMA, JsonOptions(whitespace_pattern=" ?")),
    "regex": from_regex("[0-9]{4}-[a-f]{1,6}"),
    "choice": from_choice(["positive", "negative"]),
    "lark": 'start: "SELECT " column ("," column)* " FROM t"\ncolumn: /[ab]/',
}
KNOBS: dict[str, dict[str, Any]] = {
    "greedy": {"temperature": 0.0},
    "logprobs": {"temperature": 1.5, "logprobs": 3, "prompt_logprobs": 1},
    "penalties": {"temperature": 1.0, "frequency_penalty": 1.5, "repetition_penalty": 1.2},
    "min_tokens": {"temperature": 1.0, "min_tokens": 30},
    "bad words": {"temperature": 1.0, "bad_words_token_ids": ((5, 6), (300,), (40, 41, 42))},
    "ignore_eos": {"temperature": 1.0, "ignore_eos": True},
}


def is_valid(name: str, text: str) -> bool:
    if name == "json_schema":
        jsonschema.validate(json.loads(text), SCHEMA)
        return True
    patterns = {
        "regex": "[0-9]{4}-[a-f]{1,6}",
        "choice": "positive|negative",
        "lark": "SELECT [ab](,[ab])* FROM t",
    }
    return re.fullmatch(patterns[name], text) is not None


def ids(outputs: list[Any]) -> list[tuple[int, ...]]:
    return [tuple(one.token_ids) for output in outputs for one in output.outputs]


@pytest.fixture(scope="module")
def llm() -> Iterator[LLM]:
    with LLM(
        max_num_seqs=8, max_model_len=256, max_num_batched_tokens=64, check_invariants=True
    ) as llm:
        llm.wait_until_compiled()
        yield llm
        assert llm.stats.total_compilations_after_ready == 0


@pytest.mark.parametrize("knobs", KNOBS)
@pytest.mark.parametrize("name", SOURCES)
def test_every_output_is_valid_with_every_parameter(llm: LLM, name: str, knobs: str) -> None:
    sampling = SamplingParams(max_tokens=200, seed=11, **KNOBS[knobs])
    (output,) = llm.generate("Hello", sampling, n=3, grammar=Grammar(source=SOURCES[name]))
    for one in output.outputs:
        assert one.finish_reason == "stop" or (name == "lark" and len(one.token_ids) == 200)
        assert one.finish_reason != "stop" or is_valid(name, one.text), one.text
        if sampling.logprobs is not None:
            assert one.logprobs is not None
            assert len(one.logprobs) == len(one.token_ids)


def test_a_neighbour_with_a_grammar_changes_no_byte(llm: LLM) -> None:
    sampling = SamplingParams(max_tokens=40, temperature=1.0, seed=3, logprobs=1, ignore_eos=True)
    greedy = SamplingParams(max_tokens=40, temperature=0.0, ignore_eos=True)
    grammar = Grammar(source=SOURCES["json_schema"])
    alone = [llm.generate("One", sampling), llm.generate("Two", greedy)]
    bound_alone = llm.generate("Three", sampling, grammar=grammar)
    together = llm.generate(
        ["One", "Two", "Three"], [sampling, greedy, sampling], grammar=[None, None, grammar]
    )
    assert ids(together) == ids(alone[0]) + ids(alone[1]) + ids(bound_alone)
    assert together[0].outputs[0].logprobs == alone[0][0].outputs[0].logprobs


def test_preempted_sequences_go_on_where_their_grammar_was() -> None:
    options: dict[str, Any] = {
        "max_num_seqs": 4, "max_model_len": 128, "max_num_batched_tokens": 64, "block_size": 16
    }  # fmt: skip
    samplings = [
        SamplingParams(max_tokens=80, temperature=1.0, seed=1 + i, ignore_eos=True)
        for i in range(4)
    ]
    grammar = Grammar(source=from_regex("([0-9]{3}[a-z]{2})*"))
    found: list[Any] = []
    for num_pages in (64, 13):
        with LLM(**options, num_gpu_blocks_override=num_pages, check_invariants=True) as llm:
            outputs = llm.generate(["a b c"] * 4, samplings, grammar=grammar)
            found.append((ids(outputs), llm.stats.total_preemptions))
    assert found[0][0] == found[1][0]
    assert (found[0][1], found[1][1] > 0) == (0, True)


def test_what_cannot_be_enforced_is_refused_and_the_engine_goes_on(llm: LLM) -> None:
    with pytest.raises(InvalidParameterError):
        llm.generate("Hello", grammar=Grammar(source="start: nowhere"))
    assert ids(llm.generate("Hello", SamplingParams(max_tokens=3, temperature=0.0)))


def test_a_grammar_that_meets_only_forbidden_tokens_is_the_clients_error(llm: LLM) -> None:
    sampling = SamplingParams(max_tokens=5, allowed_token_ids=(7,))
    with pytest.raises(InvalidParameterError, match="allowed_token_ids"):
        llm.generate("Hello", sampling, grammar=Grammar(source='start: "zzz"'))


def test_a_whole_output_ends_where_only_forbidden_tokens_could_follow(llm: LLM) -> None:
    (letter,) = llm.tokenizer.encode("q", add_special_tokens=False)
    sampling = SamplingParams(max_tokens=20, allowed_token_ids=(letter,), logprobs=1)
    grammar = Grammar(source=from_regex("[a-z]{3}"))
    (output,) = llm.generate("Hello", sampling, grammar=grammar)
    (completion,) = output.outputs
    assert (completion.text, completion.finish_reason) == ("qqq", "stop")
    assert len(completion.token_ids) == len(completion.logprobs or ()) == 3
