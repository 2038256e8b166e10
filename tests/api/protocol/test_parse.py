"""Bodies of the wrong shape get the error OpenAI would give."""

from __future__ import annotations

from typing import Any

import pytest

from api.protocol.chat import ChatCompletionRequest
from api.protocol.completions import CompletionRequest
from api.protocol.parse import parse_body
from api.protocol.tokenize import DetokenizeRequest
from engine.errors import InvalidParameterError

USER = [{"role": "user", "content": "x"}]


def chat(**fields: Any) -> dict[str, Any]:
    return {"messages": USER, **fields}


CASES: list[tuple[type[Any], dict[str, Any], str, str]] = [
    (ChatCompletionRequest, {}, "messages", "missing_required_parameter"),
    (ChatCompletionRequest, {"messages": []}, "messages", "empty_array"),
    (
        ChatCompletionRequest,
        {"messages": [{"content": "x"}]},
        "messages[0].role",
        "missing_required_parameter",
    ),
    (
        ChatCompletionRequest,
        {"messages": [{"role": "robot", "content": "x"}]},
        "messages[0].role",
        "invalid_value",
    ),
    (
        ChatCompletionRequest,
        {"messages": [{"role": "user", "content": 5}]},
        "messages[0].content",
        "invalid_type",
    ),
    (ChatCompletionRequest, {"messages": [{"role": "user"}]}, "messages[0]", "invalid_value"),
    (ChatCompletionRequest, chat(temperature="1"), "temperature", "invalid_type"),
    (ChatCompletionRequest, chat(temperature=True), "temperature", "invalid_type"),
    (ChatCompletionRequest, chat(temperature=float("inf")), "temperature", "invalid_value"),
    (ChatCompletionRequest, chat(n=True), "n", "invalid_type"),
    (ChatCompletionRequest, chat(n=1.5), "n", "invalid_type"),
    (ChatCompletionRequest, chat(seed=1e20), "seed", "integer_above_max_value"),
    (ChatCompletionRequest, chat(seed=-1e20), "seed", "integer_below_min_value"),
    (ChatCompletionRequest, chat(temperature="1e20"), "temperature", "invalid_type"),
    (ChatCompletionRequest, chat(stop=["a", 5]), "stop[1]", "invalid_type"),
    (ChatCompletionRequest, chat(stop=5), "stop", "invalid_type"),
    (ChatCompletionRequest, chat(logit_bias={"1": "x"}), "logit_bias.1", "invalid_type"),
    (
        ChatCompletionRequest,
        chat(metadata={"a": "b" * 513}),
        "metadata.a",
        "string_above_max_length",
    ),
    (
        ChatCompletionRequest,
        chat(metadata={str(i): "" for i in range(17)}),
        "metadata",
        "array_above_max_length",
    ),
    (
        ChatCompletionRequest,
        chat(safety_identifier="x" * 65),
        "safety_identifier",
        "string_above_max_length",
    ),
    (CompletionRequest, {"prompt": 5}, "prompt", "invalid_type"),
    (CompletionRequest, {"prompt": [[1], [-1]]}, "prompt[1][0]", "integer_below_min_value"),
    (
        CompletionRequest,
        {"prompt": "a", "truncate_prompt_tokens": -2},
        "truncate_prompt_tokens",
        "integer_below_min_value",
    ),
    (
        CompletionRequest,
        {"prompt": "a", "cache_salt": ""},
        "cache_salt",
        "string_below_min_length",
    ),
    (DetokenizeRequest, {"tokens": "a"}, "tokens", "invalid_type"),
    (DetokenizeRequest, {"tokens": [-1]}, "tokens[0]", "integer_below_min_value"),
]


@pytest.mark.parametrize(("model", "body", "param", "code"), CASES)
def test_a_wrong_shape_is_told_by_path_and_code(
    model: type[Any], body: dict[str, Any], param: str, code: str
) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        parse_body(model, body, strict_fields=False)
    assert (caught.value.param, caught.value.code) == (param, code)


def test_whole_numbers_are_fine_decimals() -> None:
    assert parse_body(ChatCompletionRequest, chat(temperature=1), strict_fields=False)


def test_unknown_fields_are_named_or_refused() -> None:
    body = chat(foo=1, store=None, bar=2)
    assert parse_body(
        ChatCompletionRequest, body, strict_fields=False, known=("store",)
    ).unknown == ("foo", "bar")
    with pytest.raises(InvalidParameterError, match="'foo'") as caught:
        parse_body(ChatCompletionRequest, body, strict_fields=True, known=("store",))
    assert caught.value.code == "unknown_parameter"


def test_a_million_wrong_items_make_one_error() -> None:
    with pytest.raises(InvalidParameterError) as caught:
        parse_body(CompletionRequest, {"prompt": [[]] * 2 + ["x"] * 10**6}, strict_fields=False)
    assert caught.value.code == "invalid_type"
