"""What is wrong with a request and what is just right, field by field, with the error it makes."""

from __future__ import annotations

import json
import pathlib
from typing import Any

MODEL = pathlib.Path(__file__).resolve().parents[2] / "models" / "embedded" / "servax-tiny"

VOCABULARY = json.loads((MODEL / "config.json").read_text())["vocab_size"]
CONTEXT = 512
USER = {"role": "user", "content": "hi"}
CHAT = ("/v1/chat/completions", {"messages": [USER], "max_tokens": 2})
COMPLETIONS = ("/v1/completions", {"prompt": "one two", "max_tokens": 2})
BOTH = (CHAT, COMPLETIONS)

BELOW, ABOVE = "integer_below_min_value", "integer_above_max_value"
LESS, MORE = "decimal_below_min_value", "decimal_above_max_value"
TYPE, VALUE, LONG, EMPTY = "invalid_type", "invalid_value", "array_above_max_length", "empty_array"
NO_TEXT, LONG_TEXT = "string_below_min_length", "string_above_max_length"
MANY = "object_above_max_properties"
UNSUPPORTED = "unsupported_parameter"

# Two tokens, of which only the last differs, as often as fits.
SAME_BEGINNING = [f"@{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"]

CIRCLE = {"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}

HOSTILE_GRAMMARS: list[tuple[dict[str, Any], str]] = [
    ({"structured_outputs": {"regex": "(["}}, "structured_outputs.regex"),
    ({"structured_outputs": {"regex": "(?=a)b"}}, "structured_outputs.regex"),
    ({"structured_outputs": {"regex": "(" * 20_000 + ")" * 20_000}}, "structured_outputs.regex"),
    ({"structured_outputs": {"regex": "a" * 2_000_000}}, "structured_outputs.regex"),
    ({"structured_outputs": {"choice": []}}, "structured_outputs.choice"),
    ({"structured_outputs": {"choice": ["a"] * 20_001}}, "structured_outputs.choice"),
    ({"structured_outputs": {"grammar": "start: a"}}, "structured_outputs.grammar"),
    ({"structured_outputs": {"grammar": "root ::= (((("}}, "structured_outputs.grammar"),
    (
        {"structured_outputs": {"grammar": "root ::= " + "(" * 50_000}},
        "structured_outputs.grammar",
    ),
    ({"structured_outputs": {"json": "{"}}, "structured_outputs.json"),
    ({"structured_outputs": {"json": CIRCLE}}, "structured_outputs.json"),
    (
        {"structured_outputs": {"structural_tag": {"format": {"type": "magic"}}}},
        "structured_outputs.structural_tag",
    ),
    ({"guided_json": {"$ref": "http://127.0.0.1/x.json"}}, "guided_json"),
    ({"guided_json": {"$ref": "file:///etc/passwd"}}, "guided_json"),
    ({"guided_json": {"type": "array", "uniqueItems": True}}, "guided_json"),
    ({"guided_regex": "(a|b"}, "guided_regex"),
    (
        {"response_format": {"type": "json_schema",
         "json_schema": {"name": "x", "schema": {"type": "nonsense"}}}},
        "response_format.json_schema.schema",
    ),
    (
        {"response_format": {"type": "structural_tag", "triggers": ["<a"], "structures": []}},
        "response_format.structures",
    ),
    ({"response_format": {"type": "structural_tag"}}, "response_format.format"),
    (
        {"guided_json": {"type": "object"}, "guided_whitespace_pattern": "("},
        "guided_whitespace_pattern",
    ),
    (
        {"structured_outputs": {"json": {"type": "object"}, "whitespace_pattern": "["}},
        "structured_outputs.whitespace_pattern",
    ),
]  # fmt: skip

WRONG_IN_BOTH: list[tuple[dict[str, Any], str, str]] = [
    ({"temperature": -0.001}, "temperature", LESS),
    ({"temperature": 2.001}, "temperature", MORE),
    ({"top_p": -0.001}, "top_p", LESS),
    ({"top_p": 1.001}, "top_p", MORE),
    ({"top_k": -2}, "top_k", BELOW),
    ({"min_p": -0.001}, "min_p", LESS),
    ({"min_p": 1.001}, "min_p", MORE),
    ({"presence_penalty": -2.001}, "presence_penalty", LESS),
    ({"presence_penalty": 2.001}, "presence_penalty", MORE),
    ({"frequency_penalty": -2.001}, "frequency_penalty", LESS),
    ({"frequency_penalty": 2.001}, "frequency_penalty", MORE),
    ({"repetition_penalty": 0}, "repetition_penalty", LESS),
    ({"repetition_penalty": -1}, "repetition_penalty", LESS),
    ({"n": 0}, "n", BELOW),
    ({"n": -1}, "n", BELOW),
    ({"n": 129}, "n", ABOVE),
    ({"best_of": -1}, "best_of", BELOW),
    ({"best_of": 21}, "best_of", ABOVE),
    ({"n": 3, "best_of": 2}, "best_of", BELOW),
    ({"best_of": 2, "stream": True}, "best_of", VALUE),
    ({"max_tokens": 0}, "max_tokens", BELOW),
    ({"max_tokens": -1}, "max_tokens", BELOW),
    ({"min_tokens": -1}, "min_tokens", BELOW),
    ({"min_tokens": 3}, "min_tokens", ABOVE),
    ({"prompt_logprobs": -2}, "prompt_logprobs", BELOW),
    ({"prompt_logprobs": 21}, "prompt_logprobs", ABOVE),
    ({"prompt_logprobs": -1}, "prompt_logprobs", ABOVE),
    ({"prompt_logprobs": 1, "stream": True}, "prompt_logprobs", VALUE),
    ({"logprob_token_ids": [1]}, "logprob_token_ids", VALUE),
    ({"logit_bias": {str(VOCABULARY): 1}}, "logit_bias", VALUE),
    ({"logit_bias": {"-1": 1}}, "logit_bias", VALUE),
    ({"logit_bias": {"one": 1}}, "logit_bias", VALUE),
    ({"logit_bias": {"1.0": 1}}, "logit_bias", VALUE),
    ({"logit_bias": {"": 1}}, "logit_bias", VALUE),
    ({"logit_bias": {"１": 1}}, "logit_bias", VALUE),
    ({"logit_bias": {"9" * 100_000: 1}}, "logit_bias", VALUE),
    ({"logit_bias": {"1": 100.001}}, "logit_bias.1", MORE),
    ({"logit_bias": {"1": -100.001}}, "logit_bias.1", LESS),
    ({"logit_bias": {"1": "1"}}, "logit_bias.1", TYPE),
    ({"logit_bias": [1]}, "logit_bias", TYPE),
    ({"stop": ["a"] * 5}, "stop", LONG),
    ({"stop": ""}, "stop[0]", NO_TEXT),
    ({"stop": ["a", ""]}, "stop[1]", NO_TEXT),
    ({"stop": ["a" * 4097]}, "stop[0]", LONG_TEXT),
    ({"stop": ["a", 1]}, "stop[1]", TYPE),
    ({"stop": ["a"] * 1_000_000}, "stop", LONG),
    ({"stop": 1}, "stop", TYPE),
    ({"bad_words": ["a"] * 129}, "bad_words", LONG),
    ({"bad_words": [""]}, "bad_words[0]", NO_TEXT),
    ({"bad_words": ["qxjz" * 100] * 8}, "bad_words", LONG),
    ({"bad_words": SAME_BEGINNING}, "bad_words", LONG),
    ({"bad_words": [1]}, "bad_words[0]", TYPE),
    ({"bad_words": "a"}, "bad_words", TYPE),
    ({"stop_token_ids": [-1]}, "stop_token_ids", VALUE),
    ({"stop_token_ids": [VOCABULARY]}, "stop_token_ids", VALUE),
    ({"stop_token_ids": [2**64]}, "stop_token_ids[0]", ABOVE),
    ({"stop_token_ids": [True]}, "stop_token_ids[0]", TYPE),
    ({"allowed_token_ids": []}, "allowed_token_ids", EMPTY),
    ({"allowed_token_ids": [-1]}, "allowed_token_ids", VALUE),
    ({"allowed_token_ids": [VOCABULARY]}, "allowed_token_ids", VALUE),
    ({"allowed_token_ids": [1.5]}, "allowed_token_ids[0]", TYPE),
    ({"truncate_prompt_tokens": -2}, "truncate_prompt_tokens", BELOW),
    ({"truncate_prompt_tokens": CONTEXT + 1}, "truncate_prompt_tokens", ABOVE),
    ({"truncation_side": "middle"}, "truncation_side", VALUE),
    ({"seed": 2**63}, "seed", ABOVE),
    ({"seed": -(2**63) - 1}, "seed", BELOW),
    ({"priority": 1}, "priority", "unsupported_value"),
    ({"stream_options": {}}, "stream_options", VALUE),
    (
        {"stream_options": {"include_usage": 1}, "stream": True},
        "stream_options.include_usage",
        TYPE,
    ),
    ({"request_id": ""}, "request_id", NO_TEXT),
    ({"request_id": "x" * 129}, "request_id", LONG_TEXT),
    ({"cache_salt": ""}, "cache_salt", NO_TEXT),
    ({"cache_salt": "x" * 1025}, "cache_salt", LONG_TEXT),
    *((fields, param, "invalid_grammar") for fields, param in HOSTILE_GRAMMARS),
    ({"structured_outputs": {}}, "structured_outputs", VALUE),
    ({"structured_outputs": {"regex": 1}}, "structured_outputs.regex", TYPE),
    ({"structured_outputs": {"choice": ["a", 1]}}, "structured_outputs.choice[1]", TYPE),
    ({"structured_outputs": {"json": 1}}, "structured_outputs.json", TYPE),
    (
        {"structured_outputs": {"regex": "a", "choice": ["b"]}},
        "structured_outputs.choice",
        VALUE,
    ),
    (
        {"structured_outputs": {"regex": "a", "whitespace_pattern": " "}},
        "structured_outputs.whitespace_pattern",
        VALUE,
    ),
    (
        {"response_format": {"type": "json_object"}, "guided_regex": "a"},
        "guided_regex",
        VALUE,
    ),
    ({"response_format": {"type": "xml"}}, "response_format.type", VALUE),
    ({"response_format": "json_object"}, "response_format", TYPE),
    (
        {"response_format": {"type": "json_schema"}},
        "response_format.json_schema",
        "missing_required_parameter",
    ),
    ({"guided_json": 5}, "guided_json", TYPE),
    ({"guided_choice": "a"}, "guided_choice", TYPE),
    ({"guided_whitespace_pattern": " "}, "guided_whitespace_pattern", VALUE),
    ({"guided_decoding_backend": "magic"}, "guided_decoding_backend", VALUE),
    ({"max_tokens": CONTEXT}, "", "context_length_exceeded"),
    ({"max_tokens": 2**62}, "", "context_length_exceeded"),
]

WRONG_IN_CHAT: list[tuple[dict[str, Any], str, str]] = [
    ({"messages": []}, "messages", EMPTY),
    ({"messages": "hi"}, "messages", TYPE),
    ({"messages": None}, "messages", TYPE),
    ({"messages": [{"role": "king", "content": "hi"}]}, "messages[0].role", VALUE),
    ({"messages": [{"content": "hi"}]}, "messages[0].role", "missing_required_parameter"),
    ({"messages": [{"role": "user", "content": 1}]}, "messages[0].content", TYPE),
    ({"messages": [USER, 1]}, "messages[1]", TYPE),
    ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0]",
     VALUE),
    (
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
        "messages[0].content[0].type",
        UNSUPPORTED,
    ),
    ({"messages": [{"role": "user", "content": "x " * 100_000}]}, "messages",
     "context_length_exceeded"),
    ({"max_completion_tokens": 0}, "max_completion_tokens", BELOW),
    ({"max_completion_tokens": 1.5}, "max_completion_tokens", TYPE),
    ({"logprobs": 1}, "logprobs", TYPE),
    ({"top_logprobs": 1}, "top_logprobs", VALUE),
    ({"logprobs": True, "top_logprobs": -2}, "top_logprobs", BELOW),
    ({"logprobs": True, "top_logprobs": 21}, "top_logprobs", ABOVE),
    ({"logprobs": True, "top_logprobs": -1}, "top_logprobs", ABOVE),
    ({"tools": []}, "tools", EMPTY),
    ({"tool_choice": "auto"}, "tool_choice", VALUE),
    ({"continue_final_message": True}, "continue_final_message", VALUE),
    ({"chat_template": "{{ 1 }}"}, "chat_template", UNSUPPORTED),
    ({"chat_template_kwargs": {"messages": []}}, "chat_template_kwargs.messages", VALUE),
    ({"metadata": {str(index): "" for index in range(17)}}, "metadata", MANY),
    ({"metadata": {"a": 1}}, "metadata.a", TYPE),
    ({"metadata": {"a": "x" * 513}}, "metadata.a", LONG_TEXT),
]  # fmt: skip

WRONG_IN_COMPLETIONS: list[tuple[dict[str, Any], str, str]] = [
    ({"prompt": ""}, "prompt", EMPTY),
    ({"prompt": []}, "prompt", EMPTY),
    ({"prompt": [[]]}, "prompt", EMPTY),
    ({"prompt": ["a", ""]}, "prompt", EMPTY),
    ({"prompt": None}, "prompt", "missing_required_parameter"),
    ({"prompt": 1}, "prompt", TYPE),
    ({"prompt": {}}, "prompt", TYPE),
    ({"prompt": [VOCABULARY]}, "prompt", VALUE),
    ({"prompt": [2**40]}, "prompt", VALUE),
    ({"prompt": [-1]}, "prompt[0]", BELOW),
    ({"prompt": [1.5]}, "prompt[0]", TYPE),
    ({"prompt": [2**64]}, "prompt[0]", ABOVE),
    ({"prompt": [True]}, "prompt[0]", TYPE),
    ({"prompt": [1, "a"]}, "prompt[1]", TYPE),
    ({"prompt": [[1], [VOCABULARY]]}, "prompt", VALUE),
    ({"prompt": ["a"] * 1025}, "prompt", LONG),
    ({"prompt": [1] * 1_000_000}, "prompt", "context_length_exceeded"),
    ({"prompt": "x" * 5_000_000}, "prompt", "context_length_exceeded"),
    ({"prompt": ["a"] * 100, "n": 21}, "n", ABOVE),
    ({"logprobs": -2}, "logprobs", BELOW),
    ({"logprobs": 21}, "logprobs", ABOVE),
    ({"logprobs": -1}, "logprobs", ABOVE),
    ({"logprobs": True}, "logprobs", TYPE),
    ({"suffix": "x"}, "suffix", UNSUPPORTED),
    ({"prompt_embeds": "AAAA"}, "prompt_embeds", UNSUPPORTED),
]

DECIMALS = "temperature top_p min_p presence_penalty frequency_penalty repetition_penalty".split()
INTEGERS = (
    "top_k n best_of max_tokens min_tokens seed truncate_prompt_tokens prompt_logprobs".split()
)
BOOLEANS = (
    "stream echo ignore_eos skip_special_tokens include_stop_str_in_output return_token_ids".split()
)
NO_DECIMAL = ("1", True, [1], {"a": 1})
NO_INTEGER = ("1", True, 1.5, [1], {"a": 1})
NO_BOOLEAN = ("true", 1, 0, [True], {"a": True})

RIGHT_IN_BOTH: list[dict[str, Any]] = [
    {"temperature": 0},
    {"temperature": 2},
    {"temperature": 5e-324},
    {"temperature": 1e-40},
    {"temperature": 1e-30},
    {"top_p": 0},
    {"top_p": 5e-324},
    {"top_p": 1},
    {"top_k": -1},
    {"top_k": 0},
    {"top_k": 2**63 - 1},
    {"min_p": 0},
    {"min_p": 1},
    {"presence_penalty": -2},
    {"presence_penalty": 2},
    {"frequency_penalty": -2},
    {"frequency_penalty": 2},
    {"repetition_penalty": 5e-324},
    {"repetition_penalty": 1e-40},
    {"repetition_penalty": 1e308},
    {"n": 1},
    {"n": 128, "max_tokens": 1},
    {"best_of": 20},
    {"max_tokens": 1},
    {"min_tokens": 2},
    {"prompt_logprobs": 0},
    {"prompt_logprobs": 20},
    {"logit_bias": {}},
    {"logit_bias": {"0": -100, str(VOCABULARY - 1): 100}},
    {"logit_bias": {str(token): -100 for token in range(VOCABULARY)}},
    {"stop": []},
    {"stop": ["a", "b", "c", "d" * 4096]},
    {"bad_words": []},
    {"bad_words": ["a"] * 128},
    {"bad_words": SAME_BEGINNING[:16]},
    {"stop_token_ids": [0, VOCABULARY - 1]},
    {"allowed_token_ids": [VOCABULARY - 1]},
    {"allowed_token_ids": list(range(VOCABULARY))},
    {"truncate_prompt_tokens": -1},
    {"truncate_prompt_tokens": 1},
    {"truncate_prompt_tokens": CONTEXT, "max_tokens": 1},
    {"seed": -(2**63)},
    {"seed": 2**63 - 1},
    {"priority": 0},
    {"request_id": "x" * 128},
    {"cache_salt": "x" * 1024},
    {"stream": True, "stream_options": {}},
    dict.fromkeys((*DECIMALS, *INTEGERS, *BOOLEANS, "stop", "logit_bias", "bad_words")),
]

RIGHT_IN_CHAT: list[dict[str, Any]] = [
    {"max_completion_tokens": 1},
    {"logprobs": True, "top_logprobs": 0},
    {"logprobs": True, "top_logprobs": 20},
    {"metadata": {str(index): "x" * 512 for index in range(16)}},
]

RIGHT_IN_COMPLETIONS: list[dict[str, Any]] = [
    {"logprobs": 0},
    {"logprobs": 20},
    {"max_tokens": 0, "echo": True, "logprobs": 1},
    {"prompt": [0, VOCABULARY - 1]},
    {"prompt": [[0], [1]]},
    {"prompt": [1] * (CONTEXT - 2)},
    {"prompt": ["a"] * 1024, "max_tokens": 1},
]

LITERALS = {
    "NaN": b"NaN",
    "Infinity": b"Infinity",
    "minus infinity": b"-Infinity",
    "beyond doubles": b"1e400",
    "lone surrogate": b'"\\ud800"',
    "raw control character": b'"\x00"',
    "not UTF-8": b'"\xff"',
    "deep lists": b"[" * 100_000 + b"]" * 100_000,
    "deep objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "a million members": b"{" + b",".join(b'"%d":1' % i for i in range(1_000_000)) + b"}",
    "nothing": b"",
}


def wrong_types() -> list[tuple[dict[str, Any], str, str]]:
    kinds = ((DECIMALS, NO_DECIMAL), (INTEGERS, NO_INTEGER), (BOOLEANS, NO_BOOLEAN))
    huge = ((2**64, ABOVE), (-(2**70), BELOW))
    return [
        *[
            ({name: value}, name, TYPE)
            for names, values in kinds
            for name in names
            for value in values
        ],
        *[({name: value}, name, code) for name in INTEGERS for value, code in huge],
    ]
