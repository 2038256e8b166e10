"""The combinations of `test_matrix` on the embedded model: not only valid, but right."""

from __future__ import annotations

import concurrent.futures
import itertools
import json
import pathlib
import runpy
from collections.abc import Iterator
from typing import Any

import pytest

TESTS = pathlib.Path(__file__).resolve().parents[1]
serving = runpy.run_path(str(TESTS / "sdk" / "conftest.py"))["serving"]
_calls = runpy.run_path(str(pathlib.Path(__file__).with_name("chat_calls.py")))
whole, streamed = _calls["whole"], _calls["streamed"]

SENTENCE = r"The capital of [A-Z][a-z]+ is [A-Z][a-z]+\."
SCHEMA = {
    "type": "object",
    "properties": {"answer": {"type": "string", "pattern": f"^{SENTENCE}$"}},
    "required": ["answer"],
    "additionalProperties": False,
}
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
FUNCTION = {"name": "get_weather", "description": "Get the weather", "parameters": CITY}
TOOLS: dict[str, Any] = {"tools": [{"type": "function", "function": FUNCTION}]}
NAMED = {"type": "function", "function": {"name": "get_weather"}}
CAPITAL, WEATHER, SUM = (
    "What is the capital of France?",
    "What is the weather in Paris?",
    "What is 12 + 30?",
)
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    # white space is left out: so small a model does not know when it is enough
    "schema": (CAPITAL, {"structured_outputs": {"json": SCHEMA, "disable_any_whitespace": True}}),
    "regex": (CAPITAL, {"structured_outputs": {"regex": SENTENCE}}),
    "auto": (WEATHER, TOOLS),
    "declined": (SUM, TOOLS),
    "required": (WEATHER, {**TOOLS, "tool_choice": "required"}),
    "named": (WEATHER, {**TOOLS, "tool_choice": NAMED}),
}
THOUGHTS = {CAPITAL: "I know this", WEATHER: "I do not know", SUM: "42"}
"""What the model thinks of a question; thinking of the weather it does without the tool."""
CASES = [
    case
    for case in itertools.product(KINDS, (False, True), (1, 3), (False, True))
    if case[:2] != ("auto", True)
]


@pytest.fixture(scope="module")
def embedded_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("sensible") / "log") as url:
        yield url


def body_of(kind: str, thinks: bool, n: int, logprobs: bool) -> dict[str, Any]:
    question, fields = KINDS[kind]
    thinking = {"enable_thinking": thinks}
    return {
        "messages": [{"role": "user", "content": question}],
        "temperature": 0,
        "max_tokens": 120,
        "n": n,
        "chat_template_kwargs": thinking,
        **fields,
        **({"logprobs": True, "top_logprobs": 2} if logprobs else {}),
    }


def verify(kind: str, thinks: bool, choice: dict[str, Any]) -> None:
    question = KINDS[kind][0]
    assert (THOUGHTS[question] in choice["reasoning"]) if thinks else not choice["reasoning"]
    calls = [(call["name"], json.loads(call["arguments"])) for call in choice["calls"]]
    if question == WEATHER:
        assert calls == [("get_weather", {"city": "Paris"})]
        assert not choice["content"]
        assert choice["finish"] == ("stop" if kind == "named" else "tool_calls")
        return
    assert (calls, choice["finish"]) == ([], "stop")
    if question == SUM:
        assert choice["content"] == "12 + 30 = 42."
    else:
        sentence = "The capital of France is Paris."
        wanted = f'{{"answer":"{sentence}"}}' if kind == "schema" else sentence
        assert choice["content"] == wanted


def run_case(url: str, case: tuple[str, bool, int, bool]) -> None:
    kind, thinks, n, logprobs = case
    body = body_of(kind, thinks, n, logprobs)
    choices, usage = whole(url, body)
    assert len(choices) == n
    for choice in choices:
        verify(kind, thinks, choice)
    num_logprobs = sum(len(choice["logprobs"]) for choice in choices)
    assert num_logprobs == (usage["completion_tokens"] if logprobs else 0)
    streamed_choices, _ = streamed(url, body)
    assert streamed_choices == choices


def test_every_combination_is_right_and_streams_the_same(embedded_server: str) -> None:
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        futures = {pool.submit(run_case, embedded_server, case): case for case in CASES}
        failed = {futures[f]: f.exception() for f in concurrent.futures.as_completed(futures)
                  if f.exception() is not None}  # fmt: skip
    assert failed == {}, "\n".join(f"{case}: {error}"[:400] for case, error in failed.items())
