from __future__ import annotations

import json
import time

import pytest
from llguidance import LLMatcher

from engine.errors import InvalidParameterError
from engine.grammar.compile import MAX_SOURCE_BYTES, compile_grammar
from engine.grammar.vocabulary import Vocabulary
from engine.request import Grammar

SCHEMA, REGEX = LLMatcher.grammar_from_json_schema, LLMatcher.grammar_from_regex


def nested(depth: int) -> str:
    return '{"type":"array","items":' * depth + "{}" + "}" * depth


REFUSED = {
    "unclosed class": REGEX("(["),
    "look-around": REGEX("(?=a)b"),
    "deep regex": REGEX("(" * 20_000 + "a" + ")" * 20_000),
    "unknown rule": 'start: "a" nowhere',
    "deep rules": "start: " + "(" * 20_000 + '"a"' + ")" * 20_000,
    "deep schema": SCHEMA(nested(3_000)),
    "a circle of references": SCHEMA(
        '{"$defs":{"a":{"$ref":"#/$defs/b"},"b":{"$ref":"#/$defs/a"}},"$ref":"#/$defs/a"}'
    ),
    "a reference to itself": SCHEMA('{"$ref":"#"}'),
    "a remote reference": SCHEMA('{"$ref":"https://example.com/x.json"}'),
    "a keyword that cannot be enforced": SCHEMA('{"type":"array","uniqueItems":true}'),
    "a product of alternatives": SCHEMA(
        json.dumps(
            {
                "allOf": [
                    {"anyOf": [{"properties": {f"k{i}{j}": {"type": "string"}}} for j in range(10)]}
                    for i in range(8)
                ]
            }
        )
    ),
    "an intersection of patterns": SCHEMA(
        json.dumps(
            {"allOf": [{"type": "string", "pattern": f"^.*{i}.{{1,200}}$"} for i in range(12)]}
        )
    ),
    "too large": REGEX("a" * MAX_SOURCE_BYTES),
}

TAKEN = {
    "nested repetition": REGEX("(a{1,9999}){1,9999}"),
    "deeper repetition": REGEX("(((((a?){30}){30}){30}){30}){30}"),
    "classes and counts": REGEX(r"(\w{1,5000}\s){1,500}"),
    "a large enumeration": SCHEMA(json.dumps({"enum": [f"number {i}" for i in range(20_000)]})),
    "long strings": SCHEMA('{"type":"string","minLength":100000,"maxLength":200000}'),
    "an ambiguous grammar": 'start: s\ns: s s | "a" | ""',
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_enforced_is_refused_quickly(name: str, vocabulary: Vocabulary) -> None:
    started_s = time.process_time()
    with pytest.raises(InvalidParameterError, match=r"^Invalid 'guided'") as refusal:
        compile_grammar(Grammar(source=REFUSED[name], param="guided"), vocabulary)
    assert refusal.value.param == "guided"
    assert "<state>" not in refusal.value.message
    assert time.process_time() - started_s < 2.0


@pytest.mark.parametrize("name", TAKEN)
def test_what_looks_hostile_but_is_bounded_is_taken_quickly(
    name: str, vocabulary: Vocabulary
) -> None:
    started_s = time.process_time()
    compile_grammar(Grammar(source=TAKEN[name]), vocabulary)
    assert time.process_time() - started_s < 2.0
