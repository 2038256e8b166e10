"""/inference/v1/generate: tokens in, tokens out, whole and streamed."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from api.model.formats import ModelFormats
from api.parsers.reasoning import REASONING_PARSERS
from api.services.generate.service import generate_tokens
from engine.errors import EngineError, InvalidParameterError
from engine.request import Timings

QWEN = ModelFormats(reasoning=REASONING_PARSERS["qwen3"])


async def generate(speaker: Any, **fields: Any) -> dict[str, Any]:
    body = {"token_ids": [5, 6, 7], "sampling_params": {}, **fields}
    return orjson.loads((await generate_tokens(speaker.context, body, "req-1")).body)


async def stream(speaker: Any, **fields: Any) -> list[Any]:
    body = {"token_ids": [5, 6, 7], "sampling_params": {}, "stream": True, **fields}
    answer = await generate_tokens(speaker.context, body, "req-1")
    text = b"".join([event async for event in answer.events]).decode()
    datas = [line.removeprefix("data: ") for line in text.removesuffix("\n\n").split("\n\n")]
    assert datas.pop() == "[DONE]"
    return [orjson.loads(data) for data in datas]


async def test_an_answer_has_vllms_members(speaking: Any) -> None:
    answer = await generate(speaking("hello world"))
    assert answer["request_id"] == "generate-tokens-req-1"
    assert set(answer) == {
        "request_id", "model", "created", "usage", "prompt_logprobs", "prompt_token_id_logprobs",
        "prompt_token_ids", "mm_placeholders", "metrics", "kv_transfer_params",
        "ec_transfer_params", "output_mode", "choices",
    }  # fmt: skip
    choice = answer["choices"][0]
    assert set(choice) == {
        "index", "finish_reason", "stop_reason", "token_ids", "routed_experts", "sampling_mask",
        "weight_versions", "logprobs",
    }  # fmt: skip
    num_tokens = len(choice["token_ids"])
    assert choice["weight_versions"] == [{"version": "default", "start": 0, "end": num_tokens}]
    assert answer["usage"]["completion_tokens"] == num_tokens
    assert answer["usage"]["prompt_tokens"] == 3


async def test_the_ids_are_those_the_engine_gave(speaking: Any, tokenizer: Any) -> None:
    answer = await generate(speaking("hello world"), output_mode="text", return_token_ids=True)
    choice = answer["choices"][0]
    assert tokenizer.decode(choice["token_ids"]) == choice["text"] == "hello world"
    assert answer["prompt_token_ids"] == [5, 6, 7]


async def test_sampling_parameters_reach_the_engine_with_vllms_default_length(
    speaking: Any,
) -> None:
    speaker = speaking("one", "two")
    answer = await generate(speaker, sampling_params={"n": 2, "temperature": 0.5, "seed": 7})
    assert (speaker.sampling.max_tokens, speaker.sampling.seed) == (16, 7)
    assert [choice["index"] for choice in answer["choices"]] == [0, 1]


async def test_a_stream_has_the_tokens_of_the_whole_answer(speaking: Any) -> None:
    fields: dict[str, Any] = {
        "output_mode": "text", "sampling_params": {"logprobs": 1, "n": 2},
        "stream_options": None,
    }  # fmt: skip
    whole = await generate(speaking("hello wörld", "one"), **fields)
    fields["stream_options"] = {"include_usage": True}
    events = await stream(speaking("hello wörld", "one"), **fields)
    assert events[-1]["choices"] == []
    assert events[-1]["usage"] == whole["usage"]
    for index, choice in enumerate(whole["choices"]):
        chunks = [c for e in events for c in e["choices"] if c["index"] == index]
        assert [i for c in chunks for i in c["token_ids"]] == choice["token_ids"]
        assert "".join(c["text"] for c in chunks) == choice["text"]
        scores = [s for c in chunks for s in c["logprobs"]["content"]]
        assert scores == choice["logprobs"]["content"]
        assert chunks[-1]["weight_versions"] == choice["weight_versions"]
        assert [c["finish_reason"] for c in chunks[:-1]] == [None] * (len(chunks) - 1)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"token_ids": []}, "token_ids"),
        ({"token_ids": [-1]}, "token_ids[0]"),
        ({"token_ids": [10**6]}, "token_ids"),
        ({"token_ids": "one"}, "token_ids"),
        ({"sampling_params": None}, "sampling_params"),
        ({"sampling_params": []}, "sampling_params"),
        ({"sampling_params": {"temperature": -1}}, "sampling_params.temperature"),
        ({"sampling_params": {"temperature": "x"}}, "sampling_params.temperature"),
        ({"sampling_params": {"max_tokens": 0}}, "sampling_params.max_tokens"),
        ({"sampling_params": {"n": 0}}, "sampling_params.n"),
        ({"sampling_params": {"best_of": 3}}, "sampling_params.best_of"),
        ({"sampling_params": {"extra_args": {"a": 1}}}, "sampling_params.extra_args"),
        ({"sampling_params": {"structured_outputs": {"regex": "("}}},
         "sampling_params.structured_outputs.regex"),
        ({"sampling_params": {"structured_outputs": {}}}, "sampling_params.structured_outputs"),
        ({"sampling_params": {"structured_outputs": {"json": 3}}},
         "sampling_params.structured_outputs.json"),
        ({"sampling_params": {"logprob_token_ids": [10**6]}}, "sampling_params.logprob_token_ids"),
        ({"sampling_params": {"thinking_token_budget": 3}},
         "sampling_params.thinking_token_budget"),
        ({"reasoning_ended": False, "sampling_params": {"structured_outputs": {"regex": "a"}}},
         "reasoning_ended"),
        ({"output_mode": "message"}, "output_mode"),
        ({"output_mode": "derender", "stream": True}, "output_mode"),
        ({"parse_context": {}}, "parse_context"),
        ({"output_mode": "derender", "parse_context": {"tool_choice": "auto"}},
         "parse_context.tool_choice"),
        ({"output_mode": "text", "sampling_params": {"detokenize": False}},
         "sampling_params.detokenize"),
        ({"features": {"a": 1}}, "features"),
        ({"stream_options": {}}, "stream_options"),
        ({"stream": True, "sampling_params": {"prompt_logprobs": 1}},
         "sampling_params.prompt_logprobs"),
    ],
)  # fmt: skip
async def test_a_bad_field_is_named_by_its_path(
    speaking: Any, fields: dict[str, Any], param: str
) -> None:
    speaker = speaking("hello")
    with pytest.raises(EngineError) as caught:
        await generate(speaker, **fields)
    assert caught.value.param == param
    assert speaker.engine.requests == []


def grammar_of(speaker: Any) -> Any:
    return speaker.engine.requests[-1].grammar


@pytest.mark.parametrize("n", [1, 2])
async def test_structured_outputs_of_the_sampling_parameters_hold_the_output(
    speaking: Any, n: int
) -> None:
    speaker = speaking("7")
    params = {"structured_outputs": {"regex": "[0-9]"}, "n": n}
    answer = await generate(speaker, sampling_params=params)
    assert len(answer["choices"]) == n
    assert "[0-9]" in grammar_of(speaker).source
    assert grammar_of(speaker).param == "sampling_params.structured_outputs.regex"
    assert grammar_of(speaker).begins_after == ()


@pytest.mark.parametrize(
    ("prompt", "fields", "is_open"),
    [
        ("<think>hm", {}, True),
        ("<think>hm</think>", {}, False),
        ("hm\n<think>\nso", {}, True),
        ("hello<|end|><think>", {}, True),
        ("in <think> tags: 1+1=", {}, False),
        ("hm", {}, False),
        ("hm", {"reasoning_ended": False}, True),
        ("<think>hm", {"reasoning_ended": True}, False),
        ("<think>", {"reasoning_parser_kwargs": {"chat_template_kwargs": {}}}, True),
        (
            "<think>",
            {"reasoning_parser_kwargs": {"chat_template_kwargs": {"enable_thinking": False}}},
            False,
        ),
    ],
)
async def test_structure_and_budget_begin_where_the_thoughts_stand(
    speaking: Any, tokenizer: Any, prompt: str, fields: dict[str, Any], is_open: bool
) -> None:
    speaker = speaking("7", formats=QWEN)
    params = {"structured_outputs": {"regex": "[0-9]"}, "thinking_token_budget": 4}
    await generate(speaker, token_ids=tokenizer.encode(prompt), sampling_params=params, **fields)
    end = tuple(tokenizer.encode("</think>"))
    assert grammar_of(speaker).begins_after == ((end,) if is_open else ())
    assert speaker.engine.requests[-1].reasoning.is_open is is_open
    assert speaker.sampling.thinking_token_budget == 4


@pytest.mark.parametrize(("is_ended", "content"), [(None, "a</think>b"), (False, "b")])
async def test_a_message_begins_within_thoughts_where_the_request_says_so(
    speaking: Any, is_ended: bool | None, content: str
) -> None:
    speaker = speaking("a</think>b", formats=QWEN)
    answer = await generate(speaker, output_mode="derender", reasoning_ended=is_ended)
    message = answer["choices"][0]["message"]
    assert (message["reasoning"], message["content"]) == (
        None if is_ended is None else "a",
        content,
    )
    assert answer["usage"]["completion_tokens_details"]["reasoning_tokens"] == (is_ended is False)


async def test_ids_asked_for_are_scored_and_named_by_id(speaking: Any) -> None:
    params = {"logprob_token_ids": [9, 8]}
    choice = (await generate(speaking("hello"), sampling_params=params))["choices"][0]
    for token_id, entry in zip(choice["token_ids"], choice["logprobs"]["content"], strict=True):
        assert (entry["token_id"], entry["rank"]) == (token_id, 1)
        found = [(top["token_id"], top["logprob"]) for top in entry["top_logprobs"]]
        assert found == [(9, -9.0), (8, -8.0)]


async def test_the_cache_is_not_read_where_that_is_asked_for(speaking: Any) -> None:
    speaker = speaking("x")
    await generate(speaker, sampling_params={"skip_reading_prefix_cache": True})
    assert speaker.sampling.skip_reading_prefix_cache


async def test_metrics_and_the_servers_interval_hold_here_too(speaking: Any) -> None:
    speaker = speaking("abcdefgh", enable_per_request_metrics=True, stream_interval=4)
    speaker.engine.timings = Timings(1.0, 1.5, 2.0, 3.0)
    assert (await generate(speaker))["metrics"]["queue_time_ms"] == 500.0
    events = await stream(speaker, stream_options={"include_usage": True})
    assert events[-1]["metrics"]["queue_time_ms"] == 500.0
    assert [len(c["token_ids"]) for e in events for c in e["choices"]] == [1, 4, 3]


async def test_unknown_sampling_fields_are_named_in_the_warning(speaking: Any) -> None:
    body = {"token_ids": [1], "sampling_params": {"tempo": 1}, "foo": 2}
    answer = await generate_tokens(speaking("x").context, body)
    assert answer.unknown_fields == ("foo", "sampling_params.tempo")
    with pytest.raises(InvalidParameterError) as caught:
        await generate_tokens(speaking("x", strict_fields=True).context, {**body, "foo": None})
    assert caught.value.code == "unknown_parameter"
