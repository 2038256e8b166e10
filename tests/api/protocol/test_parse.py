"""Bodies of the wrong shape get the error OpenAI would give."""

from __future__ import annotations

from typing import Any

import pytest

from api.protocol.anthropic import MessagesRequest
from api.protocol.batches import CreateBatchRequest
from api.protocol.chat import BatchChatCompletionRequest, ChatCompletionRequest
from api.protocol.completions import CompletionRequest
from api.protocol.generate import GenerateTokensRequest
from api.protocol.parse import parse_body
from api.protocol.responses.conversations import (
    CreateConversationRequest,
    UpdateConversationRequest,
)
from api.protocol.responses.request import ResponsesRequest
from api.protocol.stored_chat import UpdateChatCompletionRequest
from api.protocol.tokenize import DetokenizeRequest
from api.protocol.unknown import MAX_NAMES
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
        {"messages": [{"role": None, "content": "x"}]},
        "messages[0].role",
        "invalid_type",
    ),
    (
        CreateBatchRequest,
        {"input_file_id": "file-1", "endpoint": None, "completion_window": "24h"},
        "endpoint",
        "invalid_type",
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
        chat(metadata={"Any_Name": "b" * 513}),
        "metadata.Any_Name",
        "string_above_max_length",
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


METADATA: list[tuple[dict[str, str], str, str, str]] = [
    ({str(i): "" for i in range(17)}, "metadata", "object_above_max_properties",
     "Invalid 'metadata': too many properties. Expected an object with at most 16 properties, but "
     "got an object with 17 properties instead."),
    ({"K" * 65: ""}, f"metadata.{'K' * 65}", "property_name_above_max_length",
     f"Invalid property name in 'metadata': '{'K' * 65}' is too long. Expected a string with "
     "maximum length 64, but got a string with length 65 instead."),
    ({"a": "b" * 513}, "metadata.a", "string_above_max_length",
     "Invalid 'metadata.a': string too long. Expected a string with maximum length 512, but got a "
     "string with length 513 instead."),
]  # fmt: skip
BATCH = {"input_file_id": "f", "endpoint": "/v1/completions", "completion_window": "24h"}
WITH_METADATA: list[tuple[type[Any], dict[str, Any]]] = [
    (ChatCompletionRequest, chat()),
    (ResponsesRequest, {"input": "x"}),
    (CreateBatchRequest, BATCH),
    (CreateConversationRequest, {}),
    (UpdateConversationRequest, {}),
    (UpdateChatCompletionRequest, {}),
]


@pytest.mark.parametrize(("metadata", "param", "code", "message"), METADATA)
@pytest.mark.parametrize(("model", "body"), WITH_METADATA)
def test_limits_of_metadata_are_told_as_openai_does(
    model: type[Any],
    body: dict[str, Any],
    metadata: dict[str, str],
    param: str,
    code: str,
    message: str,
) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        parse_body(model, {**body, "metadata": metadata}, strict_fields=False)
    assert (caught.value.param, caught.value.code) == (param, code)
    assert str(caught.value) == message


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


FUNCTION = {"name": "f", "parameters": {"type": "object", "any": {"thing": 1}}}
NESTED: list[tuple[type[Any], dict[str, Any], str]] = [
    (ChatCompletionRequest, chat(structured_outputs={"regex": "a", "foo": 1}),
     "structured_outputs.foo"),
    (ChatCompletionRequest, chat(response_format={"type": "text", "foo": 1}),
     "response_format.foo"),
    (ChatCompletionRequest,
     chat(response_format={"type": "json_schema", "json_schema": {"name": "n", "schema_": {}}}),
     "response_format.json_schema.schema_"),
    (ChatCompletionRequest, chat(stream_options={"foo": 1}), "stream_options.foo"),
    (ChatCompletionRequest, chat(repetition_detection={"foo": 1}), "repetition_detection.foo"),
    (ChatCompletionRequest, chat(tools=[{"function": {**FUNCTION, "foo": 1}}]),
     "tools[0].function.foo"),
    (ChatCompletionRequest, chat(tool_choice={"function": {"name": "f"}, "foo": 1}),
     "tool_choice.foo"),
    (ChatCompletionRequest, {"messages": [*USER, {**USER[0], "foo": 1}]}, "messages[1].foo"),
    (ChatCompletionRequest,
     {"messages": [{"role": "user", "content": [{"type": "text", "text": "x", "foo": 1}]}]},
     "messages[0].content[0].foo"),
    (BatchChatCompletionRequest, {"messages": [USER, [{**USER[0], "foo": 1}]]},
     "messages[1][0].foo"),
    (MessagesRequest,
     {"model": "m", "max_tokens": 1, "messages": USER, "thinking": {"type": "disabled", "foo": 1}},
     "thinking.foo"),
    (ResponsesRequest, {"input": [{**USER[0], "foo": 1}]}, "input[0].foo"),
    (ResponsesRequest, {"text": {"format": {"type": "text", "foo": 1}}}, "text.format.foo"),
    (GenerateTokensRequest,
     {"token_ids": [1], "sampling_params": {}, "parse_context": {"foo": 1}}, "parse_context.foo"),
]  # fmt: skip


@pytest.mark.parametrize(("model", "body", "path"), NESTED)
def test_unknown_fields_of_inner_objects_are_named_by_their_paths_or_refused(
    model: type[Any], body: dict[str, Any], path: str
) -> None:
    assert parse_body(model, body, strict_fields=False).unknown == (path,)
    with pytest.raises(InvalidParameterError) as caught:
        parse_body(model, body, strict_fields=True)
    assert (caught.value.param, caught.value.code) == (path, "unknown_parameter")


CALL = {"id": "c", "type": "function", "index": 0,
        "function": {"name": "f", "arguments": "{}", "parsed_arguments": {}}}  # fmt: skip
KNOWN: list[tuple[type[Any], dict[str, Any]]] = [
    (ChatCompletionRequest, {"messages": [
        {"role": "user", "name": "me", "content": [{"type": "text", "text": "x",
                                                    "prompt_cache_breakpoint": {}}]},
        {"role": "assistant", "content": None, "refusal": None, "annotations": [], "audio": None,
         "function_call": None, "tool_calls": [CALL], "parsed": None, "reasoning": "x"},
        {"role": "tool", "tool_call_id": "c", "content": "1"},
    ]}),
    (ChatCompletionRequest, chat(
        tools=[{"type": "function", "function": FUNCTION}], metadata={"any": "1"},
        chat_template_kwargs={"any": {"thing": 1}}, documents=[{"any": 1}],
        response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": {"any": 1}}},
        structured_outputs={"json": {"any": 1}})),
    (ResponsesRequest, {"reasoning": {"mode": "standard"}, "input": [
        {"type": "message", "role": "assistant", "id": "m", "status": "completed",
         "content": [{"type": "output_text", "text": "x", "annotations": [], "logprobs": []}]},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}",
         "parsed_arguments": {}, "namespace": "n"},
        {"type": "function_call_output", "call_id": "c", "output": "1", "name": "f"}]}),
    (MessagesRequest, {
        "model": "m", "max_tokens": 1,
        "system": [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}],
        "tools": [{"name": "f", "input_schema": {"any": 1}, "cache_control": {}}],
        "messages": [{"role": "assistant", "content": [
            {"type": "text", "text": "x", "citations": None},
            {"type": "tool_use", "id": "c", "name": "f", "input": {"any": 1}}]}],
        "output_config": {"format": {"type": "json_schema", "schema": {"any": 1}}}}),
]  # fmt: skip


@pytest.mark.parametrize(("model", "body"), KNOWN)
def test_what_official_clients_send_back_is_no_unknown_field(
    model: type[Any], body: dict[str, Any]
) -> None:
    assert parse_body(model, body, strict_fields=True).unknown == ()


def test_no_more_unknown_fields_are_named_than_a_few() -> None:
    messages = [{**USER[0], "foo": 1}] * 1000
    parsed = parse_body(ChatCompletionRequest, {"messages": messages}, strict_fields=False)
    assert len(parsed.unknown) == MAX_NAMES
