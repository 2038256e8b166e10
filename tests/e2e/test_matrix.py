"""Structure, tools, thoughts and beams in every combination, on random weights: each answer is
valid.

Random weights choose anything that they may, so what holds here holds for every model.
"""

from __future__ import annotations

import concurrent.futures
import itertools
import json
import pathlib
import re
import runpy
from collections.abc import Iterator
from typing import Any

import httpx
import jsonschema
import pytest

TESTS = pathlib.Path(__file__).resolve().parents[1]
serving = runpy.run_path(str(TESTS / "sdk" / "conftest.py"))["serving"]
_calls = runpy.run_path(str(pathlib.Path(__file__).with_name("chat_calls.py")))
whole, streamed = _calls["whole"], _calls["streamed"]

BUDGET = 6
SCHEMA = {
    "type": "object",
    "properties": {
        "kind": {"enum": ["cat", "dog"]},
        "legs": {"type": "integer", "minimum": 0, "maximum": 9},
    },
    "required": ["kind", "legs"],
    "additionalProperties": False,
}
REGEX = r"(red|blue) [0-9]{2}"
TOOLS = {"count": SCHEMA, "paint": {
    "type": "object", "properties": {"on": {"type": "boolean"}}, "required": ["on"],
    "additionalProperties": False,
}}  # fmt: skip
TOOL_FIELDS = {
    "tools": [
        {"type": "function", "function": {"name": name, "parameters": schema, "strict": True}}
        for name, schema in TOOLS.items()
    ]
}
FORMAT = {"type": "json_schema", "json_schema": {"name": "pet", "schema": SCHEMA, "strict": True}}
WHITESPACE = {"guided_whitespace_pattern": ""}
KINDS: dict[str, dict[str, Any]] = {
    "schema": {"guided_json": SCHEMA, **WHITESPACE},
    "format": {"response_format": FORMAT},
    "regex": {"structured_outputs": {"regex": REGEX}},
    "auto": TOOL_FIELDS,
    "required": {**TOOL_FIELDS, "tool_choice": "required", "parallel_tool_calls": False},
    "named": {**TOOL_FIELDS, "tool_choice": {"type": "function", "function": {"name": "paint"}}},
}
USER = {"role": "user", "content": "Hi"}
# The answer goes on with thoughts that the request began: even random weights are in them then.
THINKING = {
    "messages": [USER, {"role": "assistant", "content": "<think>\nWell"}],
    "add_generation_prompt": False,
    "continue_final_message": True,
    "thinking_token_budget": BUDGET,
}
CASES = [
    *itertools.product(KINDS, (False, True), (1, 3), (False, True), (False,)),
    # a round of requests for every token: fewer of them
    *(
        (kind, thinks, n, n == 3, True)
        for kind in KINDS
        for thinks in (False, True)
        for n in (1, 3)
    ),
]


@pytest.fixture(scope="module")
def random_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    log = tmp_path_factory.mktemp("matrix") / "log"
    with serving(log, "--load-format", "dummy", "--seed", "3", "--max-model-len", "512") as url:
        yield url


def body_of(kind: str, thinks: bool, n: int, logprobs: bool, beams: bool) -> dict[str, Any]:
    max_tokens = 40 if kind == "auto" else 60 if beams else 150
    body = {"messages": [USER], "max_tokens": max_tokens, "n": n, "seed": 5}
    body |= KINDS[kind] | {"use_beam_search": beams}
    body |= THINKING if thinks else {"chat_template_kwargs": {"enable_thinking": False}}
    return body | ({"logprobs": True, "top_logprobs": 2} if logprobs else {})


def verify(kind: str, thinks: bool, choice: dict[str, Any]) -> None:
    assert bool(choice["reasoning"]) <= thinks
    for call in choice["calls"]:
        if choice["finish"] != "length":
            jsonschema.validate(json.loads(call["arguments"]), TOOLS[call["name"]])
    if kind == "auto":
        assert (choice["finish"] == "tool_calls") <= bool(choice["calls"])
        return
    if choice["finish"] == "length" and kind not in {"schema", "regex"}:
        return  # JSON allows any white space, and random weights love it
    assert choice["finish"] == ("tool_calls" if kind == "required" else "stop")
    if kind in {"required", "named"}:
        assert len(choice["calls"]) == 1
        assert not choice["content"]
        assert kind == "required" or choice["calls"][0]["name"] == "paint"
    elif kind == "regex":
        assert re.fullmatch(REGEX, choice["content"])
    else:
        jsonschema.validate(json.loads(choice["content"]), SCHEMA)


def run_case(url: str, case: tuple[str, bool, int, bool, bool]) -> None:
    kind, thinks, n, logprobs, _ = case
    body = body_of(*case)
    choices, usage = whole(url, body)
    assert len(choices) == n
    for choice in choices:
        verify(kind, thinks, choice)
    num_logprobs = sum(len(choice["logprobs"]) for choice in choices)
    assert num_logprobs == (usage["completion_tokens"] if logprobs else 0)
    reasoning_tokens = usage["completion_tokens_details"]["reasoning_tokens"]
    assert (0 < reasoning_tokens <= BUDGET * n) if thinks else reasoning_tokens == 0
    streamed_choices, streamed_usage = streamed(url, body)
    assert streamed_choices == choices
    # the second answer found its prompt in the cache
    del usage["prompt_tokens_details"], streamed_usage["prompt_tokens_details"]
    assert streamed_usage == usage


def test_every_combination_is_valid_and_streams_the_same(random_server: str) -> None:
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        futures = {pool.submit(run_case, random_server, case): case for case in CASES}
        failed = {futures[f]: f.exception() for f in concurrent.futures.as_completed(futures)
                  if f.exception() is not None}  # fmt: skip
    assert failed == {}, "\n".join(f"{case}: {error}"[:400] for case, error in failed.items())
    metrics = httpx.get(f"{random_server}/metrics").text
    compiled = [line for line in metrics.splitlines() if "compilations_after_ready" in line]
    assert [line.split()[-1] for line in compiled if not line.startswith("#")] == ["0.0"]
