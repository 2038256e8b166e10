"""Grammars, expressions, schemas, templates and tensors made to hurt, beside 32 streams: each ends
in 400 that names its field, within its cap, and the streams give the bytes they give alone."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import pathlib
import pickle
import runpy
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

TESTS = pathlib.Path(__file__).resolve().parents[1]
serving = runpy.run_path(str(TESTS / "sdk" / "conftest.py"))["serving"]
BOMBS = runpy.run_path(str(TESTS / "engine" / "text" / "test_chat_template.py"))["BOMBS"]

NUM_STREAMS, NUM_TOKENS = 32, 96
CAP_S = 15.0
"""`MAX_COMPILE_S` of grammars and the seconds of a template, with room for a busy machine."""
CHAT_PATH = "/v1/chat/completions"
USER = [{"role": "user", "content": "Hi"}]


def deep(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "integer"}
    for _ in range(depth):
        schema = {"type": "object", "properties": {"a": schema}, "required": ["a"]}
    return schema


def doubling(depth: int) -> dict[str, Any]:
    """Definitions of which each names the next twice."""
    names = [f"d{level}" for level in range(depth + 1)]
    definitions: dict[str, Any] = {
        name: {"type": "array", "prefixItems": [{"$ref": f"#/$defs/{after}"}] * 2, "items": False,
               "minItems": 2}
        for name, after in itertools.pairwise(names)
    }  # fmt: skip
    return {"$ref": "#/$defs/d0", "$defs": definitions | {names[-1]: {"enum": [0, 1]}}}


CLASHING = "\n".join([
    "start: " + " ".join(f"(a{i} | b{i})" for i in range(3000)),
    *(f'a{i}: "x"+\nb{i}: "x"+' for i in range(3000)),
])  # fmt: skip
CHAT: dict[str, tuple[dict[str, Any], str]] = {
    "a regex with look-behind": ({"guided_regex": "(?<=a)b"}, "guided_regex"),
    "a regex that is none": ({"guided_regex": "(" * 100_000}, "guided_regex"),
    "a grammar without an end": ({"guided_grammar": "start: start"}, "guided_grammar"),
    "a grammar that is too large": (
        {"structured_outputs": {"grammar": 'start: "' + "a" * 600_000 + '"'}},
        "structured_outputs.grammar",
    ),
    "GBNF nested deeply": ({"guided_grammar": "root ::= " + "(" * 30_000}, "guided_grammar"),
    "too many choices": ({"guided_choice": [str(i) for i in range(20_001)]}, "guided_choice"),
    "a schema nested deeply": ({"guided_json": deep(90)}, "guided_json"),
    "a grammar that clashes": ({"guided_grammar": CLASHING}, "guided_grammar"),
    "a product of alternatives": ({"guided_json": {"allOf": [
        {"anyOf": [{"properties": {f"k{i}{j}": {"type": "string"}}} for j in range(10)]}
        for i in range(8)]}}, "guided_json"),
    "an intersection of patterns": ({"guided_json": {"allOf": [
        {"type": "string", "pattern": f"^.*{i}.{{1,200}}$"} for i in range(12)]}}, "guided_json"),
    "a regex nested deeply": ({"guided_regex": "(" * 20_000 + "a" + ")" * 20_000}, "guided_regex"),
    "rules nested deeply": (
        {"guided_grammar": "start: " + "(" * 20_000 + '"a"' + ")" * 20_000}, "guided_grammar"
    ),
    "a schema in a loop": ({"guided_json": {"$ref": "#"}}, "guided_json"),
    "a schema from elsewhere": ({"guided_json": {"$ref": "http://127.0.0.1/x"}}, "guided_json"),
    "a schema of nothing": ({"guided_json": False}, "guided_json"),
    "a schema that cannot be kept": (
        {"response_format": {"type": "json_schema", "json_schema": {
            "name": "x", "schema": {"type": "array", "uniqueItems": True}}}},
        "response_format",
    ),
    "a strict tool that doubles": (
        {"tools": [{"type": "function", "function": {
            "name": "f", "strict": True,
            "parameters": {"type": "object", "properties": {"a": doubling(40)}}}}],
         "tool_choice": "required"},
        "tools",
    ),
    "variables of the server": (
        {"chat_template_kwargs": {"messages": []}}, "chat_template_kwargs.messages"
    ),
    **{f"a template: {name}": ({"chat_template": text}, "messages|chat_template")
       for name, text in BOMBS.items()},
}  # fmt: skip
BOUNDED: dict[str, dict[str, Any]] = {
    "a regex with a huge count": {"guided_regex": "(a|b){1000000000}"},
    "a regex that explodes": {"guided_regex": "(" * 60 + "a" + "{1,99})" * 60},
    "a regex of states": {"guided_regex": "(.*a.{200}){200}"},
    "a schema that doubles": {"guided_json": doubling(40)},
    "a pattern of counts": {"guided_json": {"type": "string", "pattern": "(a{1,999}){1,999}"}},
}
"""What looks hostile and costs no more than the caps: it is answered."""
TENSORS = {
    "a pickle": pickle.dumps({"a": 1}),
    "a zip of zeros": b"PK\x05\x06" + bytes(18),
    "noise": bytes(range(256)) * 4096,
}
COMPLETIONS: dict[str, tuple[dict[str, Any], str]] = {
    f"a tensor: {name}": ({"prompt_embeds": base64.b64encode(data).decode()}, "prompt_embeds")
    for name, data in TENSORS.items()
} | {
    "a tensor: huge": (
        {"prompt_embeds": {"dtype": "float32", "shape": [2**31 - 1, 2**31 - 1], "data": ""}},
        "prompt_embeds",
    )
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    log = tmp_path_factory.mktemp("hostile") / "log"
    flags = ("--trust-request-chat-template", "--enable-prompt-embeds", "--max-num-seqs", "32")
    with serving(log, *flags, "--no-enable-prefix-caching") as url:
        yield url


async def stream(client: httpx.AsyncClient, index: int) -> str:
    body = {
        "prompt": f"servax is {index}", "stream": True, "max_tokens": NUM_TOKENS, "seed": index,
        "temperature": 1.0, "ignore_eos": True, "logprobs": 1, "return_token_ids": True,
    }  # fmt: skip
    text = (await client.post("/v1/completions", json=body)).text
    assert text.endswith("data: [DONE]\n\n")
    events = [json.loads(line[6:]) for line in text.split("\n\n")[:-2]]
    choices = [choice for event in events for choice in event["choices"]]
    ids = [i for choice in choices for i in choice["token_ids"]]
    scores = [v for choice in choices for v in choice["logprobs"]["token_logprobs"]]
    return json.dumps([ids, scores, "".join(choice["text"] for choice in choices)])


async def streams(client: httpx.AsyncClient) -> list[str]:
    return await asyncio.gather(*(stream(client, index) for index in range(NUM_STREAMS)))


def is_refusal_of(param: str, status: int, error: dict[str, Any]) -> bool:
    """`param` is how the field's name begins, or several such separated by |."""
    return status == 400 and str(error.get("param")).startswith(tuple(param.split("|")))


async def attack(client: httpx.AsyncClient, faults: list[str]) -> None:
    """Send every hostile body, two at a time as two clients would."""
    bodies = [
        *((CHAT_PATH, {"messages": USER} | body, name, param)
          for name, (body, param) in CHAT.items()),
        *((CHAT_PATH, {"messages": USER} | body, name, None) for name, body in BOUNDED.items()),
        *(("/v1/completions", body, name, param) for name, (body, param) in COMPLETIONS.items()),
    ]  # fmt: skip

    async def send_each(mine: list[Any]) -> None:
        for path, body, name, param in mine:
            began_s = time.monotonic()
            answer = await client.post(path, json=body | {"max_tokens": 4})
            took_s = time.monotonic() - began_s
            status, error = answer.status_code, answer.json().get("error", {})
            is_right = status == 200 if param is None else is_refusal_of(param, status, error)
            if not is_right or took_s > CAP_S:
                faults.append(f"{name}: {status} {error} after {took_s:.1f} s")

    await asyncio.gather(send_each(bodies[::2]), send_each(bodies[1::2]))


async def test_neighbours_of_hostile_requests_stream_on_unchanged(server: str) -> None:
    limits = httpx.Limits(max_connections=64)
    async with httpx.AsyncClient(base_url=server, timeout=300, limits=limits) as client:
        alone = await streams(client)
        assert len(set(alone)) == NUM_STREAMS
        faults: list[str] = []
        attacking = asyncio.create_task(attack(client, faults))
        rounds = 0
        while not attacking.done() or not rounds:
            assert await streams(client) == alone
            rounds += 1
        await attacking
        assert not faults, "\n".join(faults)
        metrics = (await client.get("/metrics")).text
    compiled = [line for line in metrics.splitlines() if "compilations_after_ready" in line]
    assert [line.split()[-1] for line in compiled if not line.startswith("#")] == ["0.0"]
