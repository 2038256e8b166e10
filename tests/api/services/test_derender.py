"""*/derender: rendering, generating and derendering is the same as asking directly."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import orjson
import pydantic
import pytest

from api.model.formats import ModelFormats
from api.parsers.reasoning import REASONING_PARSERS
from api.parsers.tools import TOOL_PARSERS
from api.protocol.derender import DerenderCompletionRequest
from api.services.derender.chat import derender_chat
from api.services.derender.completions import derender_completion
from api.services.generate.service import generate_tokens
from api.services.render.service import render_chat_completion, render_completion
from engine.errors import RequestError

TEMPLATE = "{{ tools | length if tools else 0 }}{% for m in messages %}{{ m.content }}{% endfor %}"
BOTH = ModelFormats(tools=TOOL_PARSERS["hermes"], reasoning=REASONING_PARSERS["qwen3"])
CODER = ModelFormats(tools=TOOL_PARSERS["qwen3_coder"], reasoning=REASONING_PARSERS["deepseek_r1"])
TOOLS = [{"type": "function", "function": {"name": name}} for name in ("look", "run")]
ANSWERS = {
    "plain": "Grüße, 世界 👋!",
    "thoughts": "<think>\nHm, Rome.\n</think>\n\nIn Rome it is warm.",
    "calls": '<think>x</think>Let me look.\n<tool_call>\n{"name": "look", "arguments": '
    '{"city": "Rome"}}\n</tool_call>\n<tool_call>\n{"name": "run", "arguments": {}}\n</tool_call>',
    "xml": "I think.\n</think>\n<tool_call>\n<function=look>\n<parameter=city>\nRome\n</parameter>"
    "\n</function>\n</tool_call>",
}
USER = [{"role": "user", "content": "weather?"}]
CALLING = {"messages": USER, "tools": TOOLS}
LOGPROBS = {"logprobs": True, "top_logprobs": 2}
CHOSEN = {"logprobs": True, "logprob_token_ids": [9, 8]}


@pytest.fixture
def saying(speaking: Any) -> Any:
    """Makes a speaker of a model that thinks and calls."""

    def make(*texts: str, formats: ModelFormats = BOTH, **options: Any) -> Any:
        speaker = speaking(*texts, template=TEMPLATE, formats=formats, **options)
        speaker.engine.info = msgspec.structs.replace(speaker.engine.info, max_model_len=1024)
        speaker.engine.ends_with_eos = True
        return speaker

    return make


def body_of(answer: Any) -> Any:
    return orjson.loads(answer.body)


async def events_of(answer: Any) -> list[Any]:
    text = b"".join([event async for event in answer.events]).decode()
    lines = [line.removeprefix("data: ") for line in text.removesuffix("\n\n").split("\n\n")]
    assert lines.pop() == "[DONE]"
    return [json.loads(line) for line in lines]


async def chat_in_three_steps(speaker: Any, chat: dict[str, Any], **fields: Any) -> Any:
    context = speaker.context
    rendered = body_of(await render_chat_completion(context, chat, "r"))
    generated = body_of(await generate_tokens(context, rendered))
    body = {"generate_response": generated, "chat_request": chat, **fields}
    return body_of(await derender_chat(context, body))


async def chunks_in_three_steps(speaker: Any, chat: dict[str, Any], **fields: Any) -> list[Any]:
    """Event by event, a state for each choice, as a client of vLLM's does it."""
    context, states = speaker.context, dict[int, Any]()
    rendered = body_of(await render_chat_completion(context, chat, "r"))
    chunks: list[Any] = []
    for event in await events_of(await generate_tokens(context, rendered)):
        index = event["choices"][0]["index"] if event["choices"] else 0
        body = {
            "stream": True, "generate_chunk": event, "chat_request": chat,
            "stream_state": states.get(index), "prompt_token_ids": rendered["token_ids"], **fields,
        }  # fmt: skip
        found = body_of(await derender_chat(context, body))
        states[index] = found["stream_state"]
        chunks.append(found["chunk"])
    return chunks


def joined(chunks: list[Any], index: int = 0) -> dict[str, Any]:
    """The choice that a client makes of its chunks."""
    choice: dict[str, Any] = {"content": "", "reasoning": "", "calls": {}, "tokens": []}
    for piece in (c for chunk in chunks for c in chunk["choices"] if c["index"] == index):
        delta = piece["delta"]
        choice["content"] += delta.get("content") or ""
        choice["reasoning"] += delta.get("reasoning") or ""
        choice["tokens"] += (piece["logprobs"] or {}).get("content") or []
        for call in delta.get("tool_calls") or ():
            known = choice["calls"].setdefault(call["index"], {"arguments": ""})
            known["name"] = call["function"].get("name") or known["name"]
            known["arguments"] += call["function"]["arguments"]
        choice["finish_reason"] = piece["finish_reason"]
    return choice


def without_ids(answer: Any) -> Any:
    for choice in answer["choices"]:
        for call in choice["message"].get("tool_calls") or ():
            call["id"] = "call"
    return {**answer, "id": "", "created": 0}


@pytest.mark.parametrize("name", ANSWERS)
@pytest.mark.parametrize(
    "wish", [{}, {"n": 2}, LOGPROBS, CHOSEN, {"stop": ["Rome"]}, {"max_tokens": 9}]
)
async def test_a_derendered_chat_is_the_direct_answer(
    saying: Any, name: str, wish: dict[str, Any]
) -> None:
    formats = CODER if name == "xml" else BOTH
    texts = (ANSWERS[name], ANSWERS["plain"])
    direct = await saying(*texts, formats=formats).chat(**CALLING, **wish)
    derendered = await chat_in_three_steps(saying(*texts, formats=formats), {**CALLING, **wish})
    assert without_ids(derendered) == without_ids(direct)


@pytest.mark.parametrize("name", ANSWERS)
@pytest.mark.parametrize(
    ("size", "wish"),
    [(1, {}), (3, {}), (1, {"n": 2}), (1, LOGPROBS), (1, CHOSEN), (1, {"stop": ["Rome"]})],
)
async def test_derendered_chunks_add_up_to_the_direct_answer(
    saying: Any, name: str, size: int, wish: dict[str, Any]
) -> None:
    formats = CODER if name == "xml" else BOTH
    texts = (ANSWERS[name], ANSWERS["plain"])
    direct = await saying(*texts, formats=formats).chat(**CALLING, **wish)
    speaker = saying(*texts, formats=formats)
    speaker.engine.tokens_per_delta = size
    options = {"stream": True, "stream_options": {"include_usage": True}}
    chunks = await chunks_in_three_steps(speaker, {**CALLING, **wish, **options})
    for choice in direct["choices"]:
        found, message = joined(chunks, choice["index"]), choice["message"]
        assert found["content"] == (message["content"] or "")
        assert found["reasoning"] == (message["reasoning"] or "")
        calls = [call["function"] for call in message.get("tool_calls") or ()]
        assert list(found["calls"].values()) == calls
        assert found["finish_reason"] == choice["finish_reason"]
        assert found["tokens"] == (choice["logprobs"] or {"content": []})["content"]
    assert chunks[-1]["usage"]["completion_tokens"] == direct["usage"]["completion_tokens"]
    if "n" not in wish:
        assert chunks[-1]["usage"] == direct["usage"]


async def test_ids_of_calls_stay_the_same_from_chunk_to_chunk(saying: Any) -> None:
    chat = {**CALLING, "stream": True}
    chunks = await chunks_in_three_steps(saying(ANSWERS["calls"]), chat)
    calls = [
        call
        for chunk in chunks
        for choice in chunk["choices"]
        for call in choice["delta"].get("tool_calls") or ()
    ]
    ids = [call["id"] for call in calls if "id" in call]
    assert len(ids) == len(set(ids)) == 2
    assert [choice["delta"].get("role") for c in chunks for choice in c["choices"]][:2] == [
        "assistant", None,
    ]  # fmt: skip


async def test_a_model_without_formats_needs_no_chat_request(saying: Any) -> None:
    context = saying("hello", formats=ModelFormats()).context
    generated = body_of(await generate_tokens(context, {"token_ids": [5], "sampling_params": {}}))
    body = {"generate_response": generated, "prompt_tokens": 7}
    answer = body_of(await derender_chat(context, body))
    assert answer["choices"][0]["message"]["content"] == "hello"
    assert answer["usage"]["prompt_tokens"] == 7
    with pytest.raises(RequestError) as caught:
        await derender_chat(saying("hello").context, body)
    assert caught.value.param == "chat_request"


@pytest.mark.parametrize("name", ANSWERS)
async def test_the_output_mode_derender_gives_messages_beside_tokens(
    saying: Any, name: str
) -> None:
    formats = CODER if name == "xml" else BOTH
    direct = await saying(ANSWERS[name], formats=formats).chat(**CALLING, stop=["warm"])
    context = saying(ANSWERS[name], formats=formats).context
    rendered = body_of(await render_chat_completion(context, {**CALLING, "stop": ["warm"]}))
    parse = {"tools": TOOLS, "tool_choice": "auto"}
    fields = {"output_mode": "derender", "parse_context": parse}
    generated = body_of(await generate_tokens(context, rendered | fields))
    choice, wanted = generated["choices"][0], without_ids(direct)["choices"][0]
    assert without_ids({"choices": [choice]})["choices"][0]["message"] == wanted["message"]
    assert choice["finish_reason"] == wanted["finish_reason"]
    assert choice["token_ids"]
    assert generated["usage"] == direct["usage"]


@pytest.mark.parametrize("wish", [{}, {"n": 2, "logprobs": 1}, {"stop": ["lo"], "n": 2}])
async def test_derendered_completions_are_the_direct_answer(
    speaking: Any, wish: dict[str, Any]
) -> None:
    request = {"prompt": ["one", "two three"], "return_token_ids": True, **wish}
    direct = await speaking("hello world", "héé").complete(**request)
    context = speaking("hello world", "héé").context
    rendered = body_of(await render_completion(context, request, "r"))
    generated = [body_of(await generate_tokens(context, one)) for one in rendered]
    body = {"generate_responses": generated, "completion_request": request}
    derendered = body_of(await derender_completion(context, body))
    assert {**derendered, "id": "", "created": 0} == {**direct, "id": "", "created": 0}


async def test_derendered_pieces_of_a_completion_are_the_direct_answer(speaking: Any) -> None:
    wish = {"logprobs": 1, "return_token_ids": True}
    request = {"prompt": "one", **wish, "stream": True}
    direct = (await speaking("hello wörld").complete("one", **wish))["choices"][0]
    context, state = speaking("hello wörld").context, None
    rendered = body_of(await render_completion(context, request, "r"))[0]
    pieces: list[Any] = []
    for event in await events_of(await generate_tokens(context, rendered)):
        body = {
            "stream": True, "generate_chunk": event, "stream_state": state,
            "completion_request": request, "prompt_token_ids": rendered["token_ids"],
        }  # fmt: skip
        found = body_of(await derender_completion(context, body))
        state = found["stream_state"]
        pieces += found["chunk"]["choices"]
    assert "".join(piece["text"] for piece in pieces) == direct["text"]
    assert [i for piece in pieces for i in piece["token_ids"]] == direct["token_ids"]
    for name, values in direct["logprobs"].items():
        assert [one for piece in pieces for one in piece["logprobs"][name]] == values
    assert pieces[0]["prompt_token_ids"] == direct["prompt_token_ids"]
    assert pieces[-1]["finish_reason"] == direct["finish_reason"]


TOKENS = {"choices": [{"index": 0, "token_ids": [5]}]}
PIECE = {"choices": [{"index": 0, "token_ids": [5]}]}
SCORE = {"token_id": 6, "logprob": -1.0}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({}, "generate_response"),
        ({"generate_response": {"choices": []}}, "generate_response.choices"),
        ({"generate_response": TOKENS | {"output_mode": "text"}}, "generate_response.output_mode"),
        ({"generate_response": {"choices": [{"index": 0, "token_ids": []}]}},
         "generate_response.choices[0].token_ids"),
        ({"generate_response": {"choices": [{"index": 0, "token_ids": [10**6]}]}},
         "generate_response.choices[0].token_ids"),
        ({"generate_response": {"choices": [{"index": 0, "token_ids": [5] * 1025}]}},
         "generate_response.choices[0].token_ids"),
        ({"generate_response": {"choices": [{"index": 0, "token_ids": [5],
          "logprobs": {"content": [SCORE]}}]}}, "generate_response.choices[0].logprobs.content"),
        ({"generate_response": TOKENS, "prompt_token_ids": [10**6]}, "prompt_token_ids"),
        ({"generate_response": TOKENS, "chat_request": {}}, "chat_request.messages"),
        ({"generate_response": TOKENS, "chat_request": {"messages": USER, "tools": [{}]}},
         "chat_request.tools[0].function"),
        ({"generate_response": TOKENS, "chat_request": {"messages": USER, "store": True}},
         "chat_request.store"),
        ({"stream": True}, "generate_chunk"),
        ({"stream": True, "generate_chunk": {"choices": [PIECE["choices"][0]] * 2}},
         "generate_chunk.choices"),
        ({"stream": True, "generate_chunk": PIECE, "stream_state": {"prev_tokens": ["a"]}},
         "stream_state.prev_tokens"),
        ({"stream": True, "generate_chunk": PIECE, "stream_state": {"output_token_ids": [5]}},
         "stream_state.output_chunk_lens"),
        ({"stream": True, "generate_chunk": PIECE,
          "stream_state": {"output_token_ids": [10**6], "output_chunk_lens": [1]}},
         "stream_state.output_token_ids"),
    ],
)  # fmt: skip
async def test_a_bad_field_is_named_by_its_path(
    saying: Any, fields: dict[str, Any], param: str
) -> None:
    body = {"chat_request": CALLING, **fields}
    with pytest.raises(RequestError) as caught:
        await derender_chat(saying("x").context, body)
    assert caught.value.param == param


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"generate_responses": []}, "generate_responses"),
        ({"generate_responses": [TOKENS] * 1025}, "generate_responses"),
        ({"generate_responses": [TOKENS], "prompt_tokens": [1, 2]}, "prompt_tokens"),
        ({"generate_responses": [TOKENS], "prompt_token_ids": []}, "prompt_token_ids"),
        ({"generate_responses": [TOKENS], "completion_request": {"prompt": "a", "echo": True}},
         "completion_request.echo"),
        ({"generate_responses": [TOKENS], "completion_request": {"n": "x"}},
         "completion_request.n"),
    ],
)  # fmt: skip
async def test_a_bad_field_of_a_completion_is_named_by_its_path(
    speaking: Any, fields: dict[str, Any], param: str
) -> None:
    with pytest.raises(RequestError) as caught:
        await derender_completion(speaking("x").context, fields)
    assert caught.value.param == param


async def test_unknown_fields_of_a_nested_request_are_named(saying: Any) -> None:
    body = {"generate_response": TOKENS, "chat_request": {**CALLING, "tempo": 1}, "foo": 2}
    answer = await derender_chat(saying("x").context, body)
    assert answer.unknown_fields == ("foo", "chat_request.tempo")


def test_a_zero_is_no_boolean() -> None:
    body = {"stream": 0, "generate_responses": [{"choices": [{"index": 0, "token_ids": []}]}]}
    with pytest.raises(pydantic.ValidationError, match="boolean"):
        DerenderCompletionRequest.model_validate(body)
