"""What the engine is told to enforce: calls, formats, both, after thoughts."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from api.model.formats import ModelFormats
from api.parsers.reasoning import REASONING_PARSERS
from api.parsers.tools import TOOL_PARSERS
from engine.errors import InvalidParameterError
from tests.api.services.grammars import accepts

BOTH = ModelFormats(tools=TOOL_PARSERS["hermes"], reasoning=REASONING_PARSERS["qwen3"])
TEMPLATE = (
    "{{ tools | length if tools else 0 }}{{ messages[0].content }}"
    "{% if enable_thinking is false %}<think></think>{% endif %}{{ opened }}"
)
OFF_BY_DEFAULT = "{{ messages[0].content }}{% if enable_thinking %}Think first.{% endif %}"
NO_SWITCH = "{{ messages[0].content }}"
REFUSING = "{% if messages | length < 2 %}{{ raise_exception('two') }}{% endif %}{{ thinking }}"
CITY = {"type": "object", "properties": {"city": {"enum": ["Rome", "Oslo"]}},
        "required": ["city"], "additionalProperties": False}  # fmt: skip
LOOK = {"type": "function", "function": {"name": "look", "parameters": CITY}}
STRICT = {"type": "function", "function": {**LOOK["function"], "strict": True}}
RUN = {"type": "function", "function": {"name": "run"}}
LOOK_ROME, LOOK_PISA = '{"city": "Rome"}', '{"city": "Pisa"}'
JSON = {"response_format": {"type": "json_object"}}
ONLY_LOOK = {"type": "function", "function": {"name": "look"}}


def call(name: str, arguments: str) -> str:
    return f'<tool_call>\n{{"name": "{name}", "arguments": {arguments}}}\n</tool_call>'


@pytest.fixture
def speaker(speaking: Any) -> Any:
    made = speaking("ok", template=TEMPLATE, formats=BOTH)
    made.engine.info = msgspec.structs.replace(made.engine.info, max_model_len=1024)
    return made


@pytest.mark.parametrize(
    ("fields", "said", "never_said"),
    [
        (
            {"tools": [LOOK, RUN], "tool_choice": "required"},
            [call("look", LOOK_ROME), call("run", '{"x": 1}') + "\n" + call("look", LOOK_ROME),
             "<think>hm</think>" + call("run", "{}")],
            ["hello", call("look", LOOK_PISA), call("other", "{}"), ""],
        ),
        (
            {"tools": [LOOK, RUN], "tool_choice": "required", "parallel_tool_calls": False},
            [call("run", "{}")],
            [call("run", "{}") + "\n" + call("run", "{}")],
        ),
        (
            {"tools": [LOOK, RUN], "tool_choice": ONLY_LOOK},
            [call("look", LOOK_ROME)],
            [call("run", "{}"), call("look", LOOK_ROME) + "\n" + call("look", LOOK_ROME)],
        ),
        (
            {"tools": [STRICT, RUN]},
            ["hello", "so " + call("look", LOOK_ROME), call("run", '{"any": [1]}')],
            [call("look", LOOK_PISA), call("other", "{}")],
        ),
        (
            {"tools": [LOOK, RUN], **JSON},
            ['{"a": 1}', call("look", LOOK_PISA), '<think>x</think>{"a": 1}'],
            ["hello", call("other", "{}")],
        ),
        (
            {**JSON, "chat_template_kwargs": {"enable_thinking": False}},
            ['{"a": 1}'],
            ['<think>x</think>{"a": 1}'],
        ),
        (
            {"functions": [LOOK["function"]], "function_call": {"name": "look"}},
            [call("look", LOOK_ROME)],
            ["hello"],
        ),
    ],
)  # fmt: skip
async def test_the_grammar_says_what_was_asked_for(
    speaker: Any, fields: dict[str, Any], said: list[str], never_said: list[str]
) -> None:
    await speaker.chat(**fields)
    assert [text for text in said if not accepts(speaker, text)] == []
    assert [text for text in never_said if accepts(speaker, text)] == []


@pytest.mark.parametrize(
    ("template", "fields", "may_think"),
    [
        (OFF_BY_DEFAULT, {}, False),
        (OFF_BY_DEFAULT, {"thinking_token_budget": 9}, False),
        (OFF_BY_DEFAULT, {"reasoning_effort": "high"}, True),
        (OFF_BY_DEFAULT, {"reasoning_effort": "none"}, False),
        (OFF_BY_DEFAULT, {"chat_template_kwargs": {"enable_thinking": True}}, True),
        (TEMPLATE, {}, True),
        (NO_SWITCH, {}, True),
        (REFUSING, {"messages": [{"role": "user", "content": "hi"}] * 2}, True),
    ],
)
@pytest.mark.parametrize("wish", [JSON, {"tools": [RUN], "tool_choice": "required"}])
async def test_thoughts_come_before_what_is_enforced_only_where_the_model_may_think(
    speaking: Any, template: str, fields: dict[str, Any], may_think: bool, wish: dict[str, Any]
) -> None:
    template += "{{ tools | length if tools else 0 }}"
    speaker = speaking("ok", template=template, formats=BOTH)
    speaker.engine.info = msgspec.structs.replace(speaker.engine.info, max_model_len=1024)
    await speaker.chat(**wish, **fields)
    said = '{"a": 1}' if wish is JSON else call("run", "{}")
    assert accepts(speaker, said)
    assert accepts(speaker, f"<think>hm</think>{said}") is may_think


async def test_vllms_fields_hold_all_of_the_text_beside_tools(speaker: Any) -> None:
    await speaker.chat(tools=[LOOK], structured_outputs={"choice": ["hello"]})
    assert accepts(speaker, "hello")
    assert not accepts(speaker, call("look", LOOK_ROME))


async def test_tools_that_need_no_call_and_no_schema_need_no_grammar(speaker: Any) -> None:
    await speaker.chat(tools=[LOOK, RUN])
    assert speaker.engine.requests[-1].grammar is None


async def test_after_open_thoughts_the_grammar_waits_for_their_end(speaker: Any) -> None:
    fields = {"tools": [LOOK], "tool_choice": "required", "thinking_token_budget": 5}
    await speaker.chat(**fields, chat_template_kwargs={"opened": "<think>\n"})
    request = speaker.engine.requests[-1]
    end = tuple(speaker.context.tokenizer.encode("</think>"))
    assert request.grammar.begins_after == (end,)
    assert (request.reasoning.end, request.reasoning.is_open) == (end, True)
    assert request.sampling.thinking_token_budget == 5
    assert not accepts(speaker, "<think>x</think>" + call("look", LOOK_ROME))


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": [LOOK], "tool_choice": "required", **JSON}, "response_format"),
        ({"tools": [LOOK], "tool_choice": ONLY_LOOK, "guided_regex": "a"}, "guided_regex"),
        ({"thinking_token_budget": -2}, "thinking_token_budget"),
    ],
)
async def test_what_does_not_go_together_is_refused(
    speaker: Any, fields: dict[str, Any], param: str
) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        await speaker.chat(**fields)
    assert caught.value.param == param


async def test_a_budget_needs_a_model_that_thinks(speaking: Any) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        await speaking().chat(thinking_token_budget=5)
    assert caught.value.param == "thinking_token_budget"
    assert await speaking().chat(thinking_token_budget=-1)
