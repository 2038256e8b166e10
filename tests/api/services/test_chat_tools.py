"""Calls and thoughts in chat answers: whole, streamed, legacy, cut, counted."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from api.model.formats import ModelFormats
from api.parsers.reasoning import REASONING_PARSERS
from api.parsers.tools import TOOL_PARSERS
from engine.errors import InvalidParameterError
from engine.text import Tokenizer

TEMPLATE = "{{ tools | length if tools else 0 }}{% for m in messages %}{{ m.content }}{% endfor %}"
BOTH = ModelFormats(tools=TOOL_PARSERS["hermes"], reasoning=REASONING_PARSERS["qwen3"])
NAMES = ("look", "run")
TOOLS = [{"type": "function", "function": {"name": name}} for name in NAMES]
CUSTOM = [{"type": "custom", "custom": {"name": "run"}}]
LOOK, RUN = '{"city": "Rome"}', '{"input": "a\\n1"}'


def call(name: str, arguments: str) -> str:
    return f'<tool_call>\n{{"name": "{name}", "arguments": {arguments}}}\n</tool_call>'


THOUGHT = "<think>\nHm, Rome.\n</think>\n\n"
TWO = call("look", LOOK) + "\n" + call("run", RUN)
EVERYTHING = THOUGHT + "Let me look.\n" + TWO


@pytest.fixture
def saying(speaking: Any) -> Any:
    """Makes a speaker of a model that thinks and calls."""

    def make(*texts: str, formats: ModelFormats = BOTH, **options: Any) -> Any:
        speaker = speaking(*texts, template=TEMPLATE, formats=formats, **options)
        speaker.engine.info = msgspec.structs.replace(speaker.engine.info, max_model_len=1024)
        speaker.engine.ends_with_eos = True
        return speaker

    return make


def joined(events: list[Any], index: int = 0) -> dict[str, Any]:
    """The message that a client makes of a stream, as OpenAI's SDKs do."""
    message: dict[str, Any] = {"finish_reason": None}
    for event in events[:-1]:
        for choice in event["choices"]:
            if choice["index"] == index:
                add(message, choice["delta"])
                message["finish_reason"] = message["finish_reason"] or choice["finish_reason"]
    return message


def add(message: dict[str, Any], delta: dict[str, Any]) -> None:
    for name, value in delta.items():
        if name == "tool_calls":
            calls = message.setdefault(name, [])
            for piece in value:
                if piece["index"] == len(calls):
                    calls.append({})
                add(calls[piece["index"]], {k: v for k, v in piece.items() if k != "index"})
        elif isinstance(value, dict):
            add(message.setdefault(name, {}), value)
        elif value is not None:
            message[name] = message.get(name, "") + value


async def test_thoughts_content_and_calls_are_told_apart(saying: Any) -> None:
    choice = (await saying(EVERYTHING).chat(tools=TOOLS))["choices"][0]
    message = choice["message"]
    assert message["reasoning"] == message["reasoning_content"] == "Hm, Rome."
    assert message["content"] == "Let me look.\n"
    assert choice["finish_reason"] == "tool_calls"
    assert [(c["type"], c["function"]) for c in message["tool_calls"]] == [
        ("function", {"name": "look", "arguments": LOOK}),
        ("function", {"name": "run", "arguments": RUN}),
    ]
    ids = [c["id"] for c in message["tool_calls"]]
    assert len(set(ids)) == 2
    assert all(call_id.startswith("call_") for call_id in ids)


async def test_beside_calls_alone_content_is_null_and_without_calls_the_member_is_missing(
    saying: Any,
) -> None:
    assert (await saying(TWO).chat(tools=TOOLS))["choices"][0]["message"]["content"] is None
    choice = (await saying("No.").chat(tools=TOOLS))["choices"][0]
    assert "tool_calls" not in choice["message"]
    assert "reasoning_content" not in choice["message"]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("No.", "stop")


@pytest.mark.parametrize("size", [1, 3, 1000])
@pytest.mark.parametrize("text", [EVERYTHING, TWO, THOUGHT + "Yes.", "No <tool_call> here"])
async def test_a_stream_says_what_the_whole_answer_says(saying: Any, text: str, size: int) -> None:
    speaker = saying(text)
    speaker.engine.tokens_per_delta = size
    whole = await speaker.chat(tools=TOOLS)
    events = await speaker.chat_stream(tools=TOOLS, stream_options={"include_usage": True})
    message, choice = joined(events), whole["choices"][0]
    assert message.pop("finish_reason") == choice["finish_reason"]
    expected = {k: v for k, v in choice["message"].items() if v is not None}
    for calls in (message.get("tool_calls", []), expected.get("tool_calls", [])):
        for one in calls:
            assert one.pop("id")
    assert {"content": "", **message} == {"content": "", **expected}
    assert events[-2]["usage"] == whole["usage"]


async def test_a_call_is_named_once_and_ends_before_the_finish(saying: Any) -> None:
    events = await saying(TWO).chat_stream(tools=TOOLS)
    deltas = [event["choices"][0]["delta"] for event in events[:-1]]
    pieces = [piece for delta in deltas for piece in delta.get("tool_calls", [])]
    named = [piece for piece in pieces if "id" in piece]
    assert [piece["index"] for piece in named] == [0, 1]
    assert [piece["function"]["name"] for piece in named] == ["look", "run"]
    assert all("name" not in p["function"] and "type" not in p for p in pieces if p not in named)
    assert deltas[0] == {"role": "assistant", "content": ""}
    assert deltas[-1] == {}
    assert events[-2]["choices"][0]["finish_reason"] == "tool_calls"


async def test_without_parallel_calls_only_the_first_is_given(saying: Any) -> None:
    answer = await saying(TWO).chat(tools=TOOLS, parallel_tool_calls=False)
    calls = answer["choices"][0]["message"]["tool_calls"]
    assert [c["function"]["name"] for c in calls] == ["look"]
    events = await saying(TWO).chat_stream(tools=TOOLS, parallel_tool_calls=False)
    assert len(joined(events)["tool_calls"]) == 1


async def test_a_custom_tool_is_called_with_its_plain_input(saying: Any) -> None:
    text = call("run", RUN)
    message = (await saying(text).chat(tools=CUSTOM))["choices"][0]["message"]
    (custom,) = message["tool_calls"]
    assert (custom["type"], custom["custom"]) == ("custom", {"name": "run", "input": "a\n1"})
    (streamed,) = joined(await saying(text).chat_stream(tools=CUSTOM))["tool_calls"]
    assert (streamed["type"], streamed["custom"]) == (custom["type"], custom["custom"])


async def test_functions_are_answered_with_a_function_call(saying: Any) -> None:
    fields = {"functions": [tool["function"] for tool in TOOLS]}
    choice = (await saying(TWO).chat(**fields))["choices"][0]
    assert choice["finish_reason"] == "function_call"
    assert choice["message"]["function_call"] == {"name": "look", "arguments": LOOK}
    assert "tool_calls" not in choice["message"]
    message = joined(await saying(TWO).chat_stream(**fields))
    assert message["function_call"] == choice["message"]["function_call"]
    assert message["finish_reason"] == "function_call"


async def test_a_call_that_was_cut_ends_as_length(saying: Any, tokenizer: Tokenizer) -> None:
    limit = len(tokenizer.encode(TWO)) - 30
    choice = (await saying(TWO).chat(tools=TOOLS, max_tokens=limit))["choices"][0]
    assert choice["finish_reason"] == "length"
    assert len(choice["message"]["tool_calls"]) >= 1


async def test_tools_that_may_not_be_called_leave_the_text_alone(saying: Any) -> None:
    message = (await saying(TWO).chat(tools=TOOLS, tool_choice="none"))["choices"][0]["message"]
    assert message["content"] == TWO
    assert "tool_calls" not in message


@pytest.mark.parametrize("fields", [{}, {"include_reasoning": False}])
async def test_reasoning_tokens_are_those_between_the_marks(
    saying: Any, tokenizer: Tokenizer, fields: dict[str, Any]
) -> None:
    answer = await saying(EVERYTHING, "No.").chat(tools=TOOLS, n=2, **fields)
    details = answer["usage"]["completion_tokens_details"]
    assert details["reasoning_tokens"] == len(tokenizer.encode("\nHm, Rome.\n"))
    shown = answer["choices"][0]["message"]["reasoning"]
    assert shown == (None if fields else "Hm, Rome.")


async def test_thoughts_are_left_out_of_a_stream_that_does_not_want_them(saying: Any) -> None:
    message = joined(await saying(EVERYTHING).chat_stream(tools=TOOLS, include_reasoning=False))
    assert "reasoning" not in message
    assert message["content"] == "Let me look.\n"


async def test_logprobs_and_ids_of_a_stream_are_all_there(saying: Any) -> None:
    fields = {"tools": TOOLS, "logprobs": True, "top_logprobs": 1, "return_token_ids": True}
    whole = (await saying(EVERYTHING).chat(**fields))["choices"][0]
    choices = [
        event["choices"][0] for event in (await saying(EVERYTHING).chat_stream(**fields))[1:-1]
    ]
    entries = [entry for choice in choices for entry in choice["logprobs"]["content"]]
    assert entries == whole["logprobs"]["content"]
    assert [i for choice in choices for i in choice["token_ids"]] == whole["token_ids"]


async def test_the_choices_of_one_answer_are_read_apart(saying: Any) -> None:
    answer = await saying(TWO, "No.", THOUGHT + "Yes.").chat(tools=TOOLS, n=3)
    reasons = [choice["finish_reason"] for choice in answer["choices"]]
    assert reasons == ["tool_calls", "stop", "stop"]
    events = await saying(TWO, "No.", THOUGHT + "Yes.").chat_stream(tools=TOOLS, n=3)
    assert [joined(events, i)["finish_reason"] for i in range(3)] == reasons
    assert joined(events, 2)["reasoning"] == "Hm, Rome."


async def test_continuous_usage_counts_thoughts_as_they_come(saying: Any) -> None:
    options = {"continuous_usage_stats": True, "include_usage": True}
    events = await saying(EVERYTHING).chat_stream(tools=TOOLS, stream_options=options)
    counts = [
        event["usage"]["completion_tokens_details"]["reasoning_tokens"] for event in events[:-1]
    ]
    assert counts[0] == 0
    assert counts == sorted(counts)
    assert counts[-1] > 3


async def test_a_stop_string_ends_a_message_with_thoughts(saying: Any) -> None:
    choice = (await saying(EVERYTHING).chat(stop=" look"))["choices"][0]
    assert (choice["message"]["content"], choice["stop_reason"]) == ("Let me", " look")
    assert choice["message"]["reasoning"] == "Hm, Rome."


async def test_calls_need_a_format_and_the_operators_leave(saying: Any) -> None:
    for speaker in (saying(formats=ModelFormats()), saying(enable_auto_tool_choice=False)):
        with pytest.raises(InvalidParameterError) as caught:
            await speaker.chat(tools=TOOLS)
        assert (caught.value.param, caught.value.code) == ("tools", "unsupported_parameter")
        assert speaker.engine.requests == []


async def test_arguments_arrive_as_they_are_generated(saying: Any) -> None:
    text = call("look", json.dumps({"city": "x" * 60}))
    events = await saying(text).chat_stream(tools=TOOLS)
    pieces = [e["choices"][0]["delta"].get("tool_calls") for e in events[:-1]]
    assert len([piece for piece in pieces if piece]) > 20
