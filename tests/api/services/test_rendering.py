"""What the chat template is given of tools, calls and wishes about thinking."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import orjson
import pytest

from api.services.prompts.tokenize import tokenize
from engine.errors import InvalidParameterError

TEMPLATE = (
    "{% for t in tools or [] %}{{ t | tojson }}\n{% endfor %}"
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}"
    "{% for c in m.tool_calls or [] %}{{ c | tojson }}{% endfor %}{% endfor %}"
)
F = {"type": "function", "function": {"name": "f", "strict": True, "parameters": {}}}
CUSTOM = {
    "name": "c",
    "description": "Run",
    "format": {"type": "grammar", "grammar": {"syntax": "regex", "definition": "a+"}},
}


async def prompt(speaker: Any, **fields: Any) -> str:
    speaker.engine.info = msgspec.structs.replace(speaker.engine.info, max_model_len=1024)
    answer = await speaker.chat(return_prompt_text=True, **fields)
    return answer["prompt_text"]


async def test_tools_are_shown_as_functions_without_our_fields(speaking: Any) -> None:
    speaker = speaking(template=TEMPLATE)
    text = await prompt(speaker, tools=[F], tool_choice="none")
    function = '{"name": "f", "description": null, "parameters": {}}'
    assert text.startswith(f'{{"type": "function", "function": {function}}}\n')


async def test_a_custom_tool_is_shown_as_a_function_of_one_text(speaking: Any) -> None:
    body = {"messages": [{"role": "user", "content": "hi"}], "add_special_tokens": False}
    speaker = speaking(template="{{ tools | tojson }}")
    tools = [{"type": "custom", "custom": CUSTOM}]
    answer = await tokenize(speaker.context, {**body, "tools": tools})
    ids = orjson.loads(answer.body)["tokens"]
    (shown,) = orjson.loads(speaker.context.tokenizer.decode(ids))
    assert shown["function"]["parameters"]["required"] == ["input"]
    assert shown["function"]["description"].startswith("Run\n")
    assert "a+" in shown["function"]["description"]


async def test_tools_nobody_may_call_can_be_left_out(speaking: Any) -> None:
    speaker = speaking(template=TEMPLATE, exclude_tools_when_tool_choice_none=True)
    assert await prompt(speaker, tools=[F], tool_choice="none") == "<|user|>hi"


async def test_earlier_calls_of_every_kind_have_objects_as_arguments(speaking: Any) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}
    custom = {"id": "2", "type": "custom", "custom": {"name": "c", "input": "aa"}}
    messages = [
        {"role": "assistant", "tool_calls": [call, custom]},
        {"role": "assistant", "function_call": {"name": "g", "arguments": ""}},
    ]
    text = await prompt(speaking(template=TEMPLATE), messages=messages)
    assert '"arguments": {"x": 1}' in text
    assert '"name": "c", "arguments": {"input": "aa"}' in text
    assert '"name": "g", "arguments": {}' in text


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ('{"x": ', {"input": '{"x": '}),
        ("[1]", {"input": "[1]"}),
        ("null", {}),
    ],
)
async def test_arguments_that_are_no_object_are_told_as_they_were_written(
    speaking: Any, written: str, shown: dict[str, Any]
) -> None:
    function = {"name": "f", "arguments": written}
    call = {"id": "1", "type": "function", "function": function}
    messages = [
        {"role": "assistant", "tool_calls": [call]},
        {"role": "assistant", "function_call": function},
    ]
    text = await prompt(speaking(template=TEMPLATE), messages=messages)
    assert text.count(f'"arguments": {json.dumps(shown)}') == 2


async def test_a_template_without_tools_refuses_them(speaking: Any) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        await speaking().chat(tools=[F], tool_choice="none")
    assert (caught.value.param, caught.value.code) == ("tools", "unsupported_parameter")


@pytest.mark.parametrize(
    ("template", "effort", "shown"),
    [
        ("{{ reasoning_effort }}", "low", "low"),
        ("{{ enable_thinking }}", "low", "True"),
        ("{{ thinking }}", "none", "False"),
        ("{{ reasoning_effort }} {{ thinking }}", "none", "none False"),
        ("{{ reasoning_effort }} {{ thinking }}", "max", "max "),
    ],
)
async def test_an_effort_reaches_the_template_in_its_own_words(
    speaking: Any, template: str, effort: str, shown: str
) -> None:
    assert await prompt(speaking(template="x" + template), reasoning_effort=effort) == "x" + shown


async def test_an_effort_can_be_mapped_and_variables_overrule_it(speaking: Any) -> None:
    efforts = {"low": {"enable_thinking": False}, "max": "high"}
    speaker = speaking(
        template="{{ enable_thinking }} {{ reasoning_effort }}", reasoning_effort_map=efforts
    )
    assert await prompt(speaker, reasoning_effort="low") == "False "
    assert await prompt(speaker, reasoning_effort="max") == " high"
    own = {"reasoning_effort": "own"}
    assert await prompt(speaker, reasoning_effort="max", chat_template_kwargs=own) == " own"


async def test_verbosity_needs_a_template_that_knows_it(speaking: Any) -> None:
    assert await prompt(speaking(template="{{ verbosity }}"), verbosity="low") == "low"
    assert await prompt(speaking(), verbosity="medium")
    with pytest.raises(InvalidParameterError) as caught:
        await speaking().chat(verbosity="high")
    assert caught.value.param == "verbosity"


async def test_tools_without_messages_are_refused_by_tokenize(speaking: Any) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        await tokenize(speaking().context, {"prompt": "a", "tools": [F]})
    assert caught.value.param == "tools"


@pytest.mark.parametrize(
    ("content_format", "shown"),
    [("auto", "hi|a\nb"), ("string", "hi|a\nb"),
     ("openai", "[{'type': 'text', 'text': 'hi'}]|"
      "[{'type': 'text', 'text': 'a'}, {'type': 'text', 'text': 'b'}]")],
)  # fmt: skip
async def test_the_operator_can_say_what_content_templates_take(
    speaking: Any, content_format: str, shown: str
) -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    messages = [{"role": "user", "content": "hi"}, {"role": "user", "content": parts}]
    template = "{{ messages[0].content }}|{{ messages[1].content }}"
    speaker = speaking(template=template, chat_template_content_format=content_format)
    assert await prompt(speaker, messages=messages) == shown


async def test_a_template_of_the_request_that_fails_is_named(speaking: Any) -> None:
    speaker = speaking(template=TEMPLATE, trust_request_chat_template=True)
    with pytest.raises(InvalidParameterError) as caught:
        await prompt(speaker, chat_template="{{ raise_exception('no') }}")
    assert caught.value.param == "chat_template"
    speaker = speaking(template="{{ raise_exception('no') }}")
    with pytest.raises(InvalidParameterError) as caught:
        await prompt(speaker)
    assert caught.value.param == "messages"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"truncate_prompt_tokens": 0}, "truncate_prompt_tokens"),
        ({"chat_template": ""}, "chat_template"),
        ({"chat_template": "{% for m in [] %}x{% endfor %}"}, "chat_template"),
    ],
)
async def test_what_leaves_no_prompt_is_named(
    speaking: Any, fields: dict[str, Any], param: str
) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        await speaking(trust_request_chat_template=True).chat(**fields)
    assert caught.value.param == param
