"""What a request's tools and choices come to, in both spellings."""

from __future__ import annotations

from typing import Any

import pytest

from api.protocol.chat import ChatCompletionRequest
from api.protocol.parse import parse_body
from api.services.guidance.tool_plan import ToolPlan, plan_tools
from engine.errors import InvalidParameterError

A = {"type": "function", "function": {"name": "a", "parameters": {"type": "object"}}}
B = {"type": "function", "function": {"name": "b", "strict": True}}
LARK = {"type": "grammar", "grammar": {"syntax": "lark", "definition": 'start: "x"'}}
C = {"type": "custom", "custom": {"name": "c", "format": LARK}}
TOOLS = [A, B, C]


def plan(**fields: Any) -> ToolPlan:
    body = {"messages": [{"role": "user", "content": "hi"}], **fields}
    return plan_tools(parse_body(ChatCompletionRequest, body, strict_fields=True).request)


def named(name: str, kind: str = "function") -> dict[str, Any]:
    return {"type": kind, kind: {"name": name}}


def allowed(mode: str, *tools: dict[str, Any]) -> dict[str, Any]:
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": list(tools)}}


@pytest.mark.parametrize(
    ("choice", "mode", "names", "is_forced", "has_strict"),
    [
        (None, "auto", "abc", False, True),
        ("auto", "auto", "abc", False, True),
        ("none", "none", "", False, False),
        ("required", "required", "abc", True, True),
        (named("a"), "named", "a", True, False),
        (named("c", "custom"), "named", "c", True, True),
        (allowed("auto", named("b"), named("a")), "auto", "ab", False, True),
        (allowed("required", named("c", "custom")), "required", "c", True, True),
    ],
)
def test_a_choice_says_which_tools_may_and_must_be_called(
    choice: Any, mode: str, names: str, is_forced: bool, has_strict: bool
) -> None:
    found = plan(tools=TOOLS, tool_choice=choice)
    assert (found.mode, "".join(found.names)) == (mode, names)
    assert (found.is_forced, found.has_strict) == (is_forced, has_strict)
    assert found.is_parallel


def test_the_prompt_shows_the_allowed_tools_alone() -> None:
    found = plan(tools=TOOLS, tool_choice=allowed("auto", named("a")))
    assert [tool.type for tool in found.tools] == ["function"]
    assert found.is_restricted
    assert len(plan(tools=TOOLS, tool_choice=named("a")).tools) == 3


def test_parallel_calls_can_be_turned_off() -> None:
    assert not plan(tools=TOOLS, parallel_tool_calls=False).is_parallel


def test_functions_are_tools_that_are_called_once() -> None:
    functions = [A["function"], B["function"]]
    found = plan(functions=functions)
    assert (found.mode, found.names, found.is_legacy, found.is_parallel) == (
        "auto", ("a", "b"), True, False,
    )  # fmt: skip
    assert plan(functions=functions, function_call={"name": "b"}).names == ("b",)
    assert plan(functions=functions, function_call="none").mode == "none"


def test_without_tools_there_is_nothing_to_choose() -> None:
    assert plan() == plan(tool_choice="none") == plan(function_call="none") == ToolPlan()


BAD = {"type": "function", "function": {"name": "a", "parameters": {"properties": {"x": 1}}}}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tool_choice": "auto"}, "tool_choice"),
        ({"tool_choice": named("a")}, "tool_choice"),
        ({"tools": TOOLS, "tool_choice": named("z")}, "tool_choice"),
        ({"tools": TOOLS, "tool_choice": named("c")}, "tool_choice"),
        (
            {"tools": TOOLS, "tool_choice": allowed("auto", named("a"), named("z"))},
            "tool_choice.allowed_tools.tools[1]",
        ),
        ({"tools": [A, B, A]}, "tools[2].function.name"),
        ({"tools": [A, {"type": "custom", "custom": {"name": "a"}}]}, "tools[1].custom.name"),
        ({"tools": [BAD]}, "tools[0].function.parameters.properties.x"),
        ({"tools": TOOLS, "functions": [A["function"]]}, "functions"),
        ({"function_call": "auto"}, "function_call"),
        ({"functions": [A["function"]] * 2}, "functions[1].name"),
        ({"functions": [BAD["function"]]}, "functions[0].parameters.properties.x"),
        ({"functions": [A["function"]], "function_call": {"name": "z"}}, "function_call"),
        ({"tools": []}, "tools"),
        ({"tools": [A] * 513}, "tools"),
        ({"functions": [A["function"]] * 129}, "functions"),
        ({"tools": [{"type": "web_search"}]}, "tools[0]"),
        ({"tools": [named("a b")]}, "tools[0].function.name"),
        ({"tools": [named("x" * 257)]}, "tools[0].function.name"),
    ],
)
def test_what_makes_no_sense_is_named(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        plan(**fields)
    assert caught.value.param == param


def test_a_function_that_is_missing_is_missing_among_functions() -> None:
    with pytest.raises(InvalidParameterError, match="in 'functions'"):
        plan(functions=[A["function"]], function_call={"name": "z"})
    with pytest.raises(InvalidParameterError, match="in 'tools'"):
        plan(tools=TOOLS, tool_choice={"type": "function", "function": {"name": "z"}})
