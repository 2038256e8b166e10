from __future__ import annotations

import json
from typing import Any

import pytest

from engine.errors import InvalidParameterError
from engine.grammar.compile import compile_grammar
from engine.grammar.sources import (
    JsonOptions,
    from_choice,
    from_grammar,
    from_json_schema,
    from_regex,
)
from engine.grammar.structural_tags import from_structural_tag
from engine.grammar.vocabulary import Vocabulary
from engine.request import Grammar
from engine.text.tokenizer import Tokenizer

INTEGER = {"type": "integer"}
OBJECT = {"type": "object", "properties": {"a": INTEGER}}
TIGHT, CLOSED = JsonOptions(any_whitespace=False), JsonOptions(additional_properties=False)
ONE_SPACE = JsonOptions(whitespace_pattern=" ?")
GBNF = 'root ::= "SELECT " col " FROM t"\ncol ::= "a" | "b"'
OLD_TAG = {
    "type": "structural_tag",
    "triggers": ["<function="],
    "structures": [{"begin": "<function=get>", "schema": INTEGER, "end": "</function>"}],
}


def tag(**node: Any) -> str:
    return json.dumps({"type": "structural_tag", "format": node})


THINKING = tag(
    type="sequence",
    elements=[
        {"type": "tag", "begin": "<think>", "content": {"type": "any_text"}, "end": "</think>"},
        {"type": "or", "elements": [{"type": "const_string", "value": "yes"},
                                    {"type": "regex", "pattern": "no+"}]},
    ],
)  # fmt: skip
LISTED = tag(
    type="tags_with_separator",
    separator=", ",
    at_least_one=True,
    tags=[{"begin": "(", "content": {"type": "json_schema", "json_schema": INTEGER}, "end": ")"}],
)

# source -> texts that are complete, texts that are not allowed
CASES: dict[str, tuple[str, list[str], list[str]]] = {
    "schema": (from_json_schema(OBJECT), ['{"a": 1}', '{ "a":1,"b":null}'], ['{"a": "x"}', "[]"]),
    "schema as text": (from_json_schema('{"type":"integer"}'), ["7"], ["x"]),
    "any value": (from_json_schema(True), ["[1]", '"x"', "null"], ["x"]),
    "no whitespace": (from_json_schema(OBJECT, TIGHT), ['{"a":1}'], ['{"a": 1}']),
    "no other properties": (from_json_schema(OBJECT, CLOSED), ['{"a": 1}'], ['{"b": 1}']),
    "one space": (from_json_schema(OBJECT, ONE_SPACE), ['{"a": 1}'], ['{"a":  1}']),
    "regex": (from_regex("[a-z]+/\\d"), ["ab/1"], ["1"]),
    "choice": (from_choice(['a"b\n', "é😀", "\\"]), ['a"b\n', "é😀", "\\"], ["a\\"]),
    "lark": ('start: "a" b\nb: /[0-9]/', ["a1"], ["ab"]),
    "gbnf": (from_grammar(GBNF), ["SELECT b FROM t"], ["SELECT c"]),
}
TAGS: dict[str, tuple[Any, list[str], list[str]]] = {
    "older tags": (
        OLD_TAG,
        ["plain", "so <function=get>12</function> it is"],
        ["<function=set", "<function=get>x"],
    ),
    "thinking": (
        THINKING,
        ["<think>hm</think>noo", "<think></think>yes"],
        ["yes", "<think>a</think>x"],
    ),
    "a list": (LISTED, ["(1)", "(1), (2)"], ["1", "(x)", "(1)(2)"]),
}  # fmt: skip


def verify(
    source: str, complete: list[str], wrong: list[str], vocabulary: Vocabulary, tokenizer: Tokenizer
) -> None:
    compiled = compile_grammar(Grammar(source=source), vocabulary)
    for text in complete:
        ids = tokenizer.encode(text, add_special_tokens=False)
        matcher = compiled.deep_copy()
        assert matcher.try_consume_tokens(ids) == len(ids), text
        assert matcher.is_accepting(), text
    for text in wrong:
        ids = tokenizer.encode(text, add_special_tokens=False)
        assert compiled.deep_copy().try_consume_tokens(ids) < len(ids), text


@pytest.mark.parametrize("name", CASES)
def test_a_source_allows_what_it_says_and_nothing_else(
    name: str, vocabulary: Vocabulary, tokenizer: Tokenizer
) -> None:
    verify(*CASES[name], vocabulary, tokenizer)


@pytest.mark.parametrize("name", TAGS)
def test_a_structural_tag_constrains_what_is_inside_and_leaves_the_rest(
    name: str, vocabulary: Vocabulary, tokenizer: Tokenizer
) -> None:
    described, complete, wrong = TAGS[name]
    source = from_structural_tag(described, vocabulary.special_ids)
    verify(source, complete, wrong, vocabulary, tokenizer)


@pytest.mark.parametrize(
    "wrong",
    [
        "[]",
        "{}",
        {"format": 1},
        {"format": {}},
        {"format": {"type": "magic"}},
        {"format": {"type": "or", "elements": []}},
        {"format": {"type": "tag", "begin": 1}},
        {"structures": [], "triggers": ["a"]},
        {"structures": [1], "triggers": ["a"]},
        {"structures": OLD_TAG["structures"], "triggers": [5]},
    ],
)
def test_what_is_no_structural_tag_is_a_value_error(wrong: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        from_structural_tag(wrong, {})


@pytest.mark.parametrize(
    "text", ["root ::= ((((", "root ::= x", "root ::= " + "(" * 50_000, "a ::="]
)
def test_what_is_no_gbnf_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        from_grammar(text)


def test_a_schema_cannot_ask_for_leniency(vocabulary: Vocabulary) -> None:
    source = from_json_schema(
        {"type": "array", "uniqueItems": True, "x-guidance": {"lenient": True}}
    )
    with pytest.raises(InvalidParameterError):
        compile_grammar(Grammar(source=source), vocabulary)
