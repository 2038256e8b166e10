"""/inference/v1/generate: tokens in, tokens out, whole and streamed."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from api.services.generate import generate_tokens
from engine.errors import EngineError, InvalidParameterError


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
        ({"output_mode": "derender"}, "output_mode"),
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


async def test_unknown_sampling_fields_are_named_in_the_warning(speaking: Any) -> None:
    body = {"token_ids": [1], "sampling_params": {"tempo": 1}, "foo": 2}
    answer = await generate_tokens(speaking("x").context, body)
    assert answer.unknown_fields == ("foo", "sampling_params.tempo")
    with pytest.raises(InvalidParameterError) as caught:
        await generate_tokens(speaking("x", strict_fields=True).context, {**body, "foo": None})
    assert caught.value.code == "unknown_parameter"
