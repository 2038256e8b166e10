"""Every illegal value of every field is a 400 that names the field, and costs nobody else anything.

One real server takes the whole table while a neighbour streams the same seeded answer over and
over; at the end every one of its streams has the text, ids and logprobs, to the last byte, that
it had alone. (How many tokens share an event depends on time, so events are joined first.)
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
import runpy
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

TESTS = pathlib.Path(__file__).resolve().parents[1]
MODEL = TESTS.parent / "models" / "embedded" / "servax-tiny"
serving = runpy.run_path(str(TESTS / "sdk" / "conftest.py"))["serving"]

VOCABULARY = json.loads((MODEL / "config.json").read_text())["vocab_size"]
CONTEXT = 512
USER = {"role": "user", "content": "hi"}
CHAT = ("/v1/chat/completions", {"messages": [USER], "max_tokens": 2})
COMPLETIONS = ("/v1/completions", {"prompt": "one two", "max_tokens": 2})
BOTH = (CHAT, COMPLETIONS)

BELOW, ABOVE = "integer_below_min_value", "integer_above_max_value"
LESS, MORE = "decimal_below_min_value", "decimal_above_max_value"
TYPE, VALUE, LONG, EMPTY = "invalid_type", "invalid_value", "array_above_max_length", "empty_array"
NO_TEXT, LONG_TEXT = "string_below_min_length", "string_above_max_length"
UNSUPPORTED = "unsupported_parameter"

# Two tokens, of which only the last differs, as often as fits.
SAME_BEGINNING = [f"@{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"]

CIRCLE = {"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}

HOSTILE_GRAMMARS: list[tuple[dict[str, Any], str]] = [
    ({"structured_outputs": {"regex": "(["}}, "structured_outputs.regex"),
    ({"structured_outputs": {"regex": "(?=a)b"}}, "structured_outputs.regex"),
    ({"structured_outputs": {"regex": "(" * 20_000 + ")" * 20_000}}, "structured_outputs.regex"),
    ({"structured_outputs": {"regex": "a" * 2_000_000}}, "structured_outputs.regex"),
    ({"structured_outputs": {"choice": []}}, "structured_outputs.choice"),
    ({"structured_outputs": {"choice": ["a"] * 20_001}}, "structured_outputs.choice"),
    ({"structured_outputs": {"grammar": "start: a"}}, "structured_outputs.grammar"),
    ({"structured_outputs": {"grammar": "root ::= (((("}}, "structured_outputs.grammar"),
    (
        {"structured_outputs": {"grammar": "root ::= " + "(" * 50_000}},
        "structured_outputs.grammar",
    ),
    ({"structured_outputs": {"json": "{"}}, "structured_outputs.json"),
    ({"structured_outputs": {"json": CIRCLE}}, "structured_outputs.json"),
    (
        {"structured_outputs": {"structural_tag": {"format": {"type": "magic"}}}},
        "structured_outputs.structural_tag",
    ),
    ({"guided_json": {"$ref": "http://127.0.0.1/x.json"}}, "guided_json"),
    ({"guided_json": {"$ref": "file:///etc/passwd"}}, "guided_json"),
    ({"guided_json": {"type": "array", "uniqueItems": True}}, "guided_json"),
    ({"guided_regex": "(a|b"}, "guided_regex"),
    (
        {"response_format": {"type": "json_schema",
         "json_schema": {"name": "x", "schema": {"type": "nonsense"}}}},
        "response_format.json_schema.schema",
    ),
    (
        {"response_format": {"type": "structural_tag", "triggers": ["<a"], "structures": []}},
        "response_format",
    ),
]  # fmt: skip

WRONG_IN_BOTH: list[tuple[dict[str, Any], str, str]] = [
    ({"temperature": -0.001}, "temperature", LESS),
    ({"temperature": 2.001}, "temperature", MORE),
    ({"top_p": -0.001}, "top_p", LESS),
    ({"top_p": 1.001}, "top_p", MORE),
    ({"top_k": -2}, "top_k", BELOW),
    ({"min_p": -0.001}, "min_p", LESS),
    ({"min_p": 1.001}, "min_p", MORE),
    ({"presence_penalty": -2.001}, "presence_penalty", LESS),
    ({"presence_penalty": 2.001}, "presence_penalty", MORE),
    ({"frequency_penalty": -2.001}, "frequency_penalty", LESS),
    ({"frequency_penalty": 2.001}, "frequency_penalty", MORE),
    ({"repetition_penalty": 0}, "repetition_penalty", LESS),
    ({"repetition_penalty": -1}, "repetition_penalty", LESS),
    ({"n": 0}, "n", BELOW),
    ({"n": -1}, "n", BELOW),
    ({"n": 129}, "n", ABOVE),
    ({"best_of": -1}, "best_of", BELOW),
    ({"best_of": 21}, "best_of", ABOVE),
    ({"n": 3, "best_of": 2}, "best_of", BELOW),
    ({"best_of": 2, "stream": True}, "best_of", VALUE),
    ({"max_tokens": 0}, "max_tokens", BELOW),
    ({"max_tokens": -1}, "max_tokens", BELOW),
    ({"min_tokens": -1}, "min_tokens", BELOW),
    ({"min_tokens": 3}, "min_tokens", ABOVE),
    ({"prompt_logprobs": -2}, "prompt_logprobs", BELOW),
    ({"prompt_logprobs": 21}, "prompt_logprobs", ABOVE),
    ({"prompt_logprobs": -1}, "prompt_logprobs", ABOVE),
    ({"prompt_logprobs": 1, "stream": True}, "prompt_logprobs", VALUE),
    ({"logprob_token_ids": [1]}, "logprob_token_ids", UNSUPPORTED),
    ({"logit_bias": {str(VOCABULARY): 1}}, "logit_bias", VALUE),
    ({"logit_bias": {"-1": 1}}, "logit_bias", VALUE),
    ({"logit_bias": {"one": 1}}, "logit_bias", VALUE),
    ({"logit_bias": {"1.0": 1}}, "logit_bias", VALUE),
    ({"logit_bias": {"": 1}}, "logit_bias", VALUE),
    ({"logit_bias": {"１": 1}}, "logit_bias", VALUE),
    ({"logit_bias": {"9" * 100_000: 1}}, "logit_bias", VALUE),
    ({"logit_bias": {"1": 100.001}}, "logit_bias.1", MORE),
    ({"logit_bias": {"1": -100.001}}, "logit_bias.1", LESS),
    ({"logit_bias": {"1": "1"}}, "logit_bias.1", TYPE),
    ({"logit_bias": [1]}, "logit_bias", TYPE),
    ({"stop": ["a"] * 5}, "stop", LONG),
    ({"stop": ""}, "stop[0]", NO_TEXT),
    ({"stop": ["a", ""]}, "stop[1]", NO_TEXT),
    ({"stop": ["a" * 4097]}, "stop[0]", LONG_TEXT),
    ({"stop": ["a", 1]}, "stop[1]", TYPE),
    ({"stop": ["a"] * 1_000_000}, "stop", LONG),
    ({"stop": 1}, "stop", TYPE),
    ({"bad_words": ["a"] * 129}, "bad_words", LONG),
    ({"bad_words": [""]}, "bad_words[0]", NO_TEXT),
    ({"bad_words": ["qxjz" * 100] * 8}, "bad_words", LONG),
    ({"bad_words": SAME_BEGINNING}, "bad_words", LONG),
    ({"bad_words": [1]}, "bad_words[0]", TYPE),
    ({"bad_words": "a"}, "bad_words", TYPE),
    ({"stop_token_ids": [-1]}, "stop_token_ids", VALUE),
    ({"stop_token_ids": [VOCABULARY]}, "stop_token_ids", VALUE),
    ({"stop_token_ids": [2**64]}, "stop_token_ids[0]", ABOVE),
    ({"stop_token_ids": [True]}, "stop_token_ids[0]", TYPE),
    ({"allowed_token_ids": []}, "allowed_token_ids", EMPTY),
    ({"allowed_token_ids": [-1]}, "allowed_token_ids", VALUE),
    ({"allowed_token_ids": [VOCABULARY]}, "allowed_token_ids", VALUE),
    ({"allowed_token_ids": [1.5]}, "allowed_token_ids[0]", TYPE),
    ({"truncate_prompt_tokens": -2}, "truncate_prompt_tokens", BELOW),
    ({"truncate_prompt_tokens": CONTEXT + 1}, "truncate_prompt_tokens", ABOVE),
    ({"truncation_side": "middle"}, "truncation_side", VALUE),
    ({"seed": 2**63}, "seed", ABOVE),
    ({"seed": -(2**63) - 1}, "seed", BELOW),
    ({"priority": 1}, "priority", "unsupported_value"),
    ({"stream_options": {}}, "stream_options", VALUE),
    (
        {"stream_options": {"include_usage": 1}, "stream": True},
        "stream_options.include_usage",
        TYPE,
    ),
    ({"request_id": ""}, "request_id", NO_TEXT),
    ({"request_id": "x" * 129}, "request_id", LONG_TEXT),
    ({"cache_salt": ""}, "cache_salt", NO_TEXT),
    ({"cache_salt": "x" * 1025}, "cache_salt", LONG_TEXT),
    *((fields, param, "invalid_grammar") for fields, param in HOSTILE_GRAMMARS),
    ({"structured_outputs": {}}, "structured_outputs", VALUE),
    ({"structured_outputs": {"regex": 1}}, "structured_outputs.regex", TYPE),
    ({"structured_outputs": {"choice": ["a", 1]}}, "structured_outputs.choice[1]", TYPE),
    ({"structured_outputs": {"json": 1}}, "structured_outputs.json", TYPE),
    (
        {"structured_outputs": {"regex": "a", "choice": ["b"]}},
        "structured_outputs.choice",
        VALUE,
    ),
    (
        {"structured_outputs": {"regex": "a", "whitespace_pattern": " "}},
        "structured_outputs.whitespace_pattern",
        VALUE,
    ),
    (
        {"response_format": {"type": "json_object"}, "guided_regex": "a"},
        "guided_regex",
        VALUE,
    ),
    ({"response_format": {"type": "xml"}}, "response_format.type", VALUE),
    ({"response_format": "json_object"}, "response_format", TYPE),
    (
        {"response_format": {"type": "json_schema"}},
        "response_format.json_schema",
        "missing_required_parameter",
    ),
    ({"guided_json": 5}, "guided_json", TYPE),
    ({"guided_choice": "a"}, "guided_choice", TYPE),
    ({"guided_whitespace_pattern": " "}, "guided_whitespace_pattern", VALUE),
    ({"guided_decoding_backend": "magic"}, "guided_decoding_backend", VALUE),
    ({"max_tokens": CONTEXT}, "", "context_length_exceeded"),
    ({"max_tokens": 2**62}, "", "context_length_exceeded"),
]

WRONG_IN_CHAT: list[tuple[dict[str, Any], str, str]] = [
    ({"messages": []}, "messages", EMPTY),
    ({"messages": "hi"}, "messages", TYPE),
    ({"messages": None}, "messages", TYPE),
    ({"messages": [{"role": "king", "content": "hi"}]}, "messages[0].role", VALUE),
    ({"messages": [{"content": "hi"}]}, "messages[0].role", "missing_required_parameter"),
    ({"messages": [{"role": "user", "content": 1}]}, "messages[0].content", TYPE),
    ({"messages": [USER, 1]}, "messages[1]", TYPE),
    (
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
        "messages[0].content[0].type",
        UNSUPPORTED,
    ),
    ({"messages": [{"role": "user", "content": "x " * 100_000}]}, "messages",
     "context_length_exceeded"),
    ({"max_completion_tokens": 0}, "max_completion_tokens", BELOW),
    ({"max_completion_tokens": 1.5}, "max_completion_tokens", TYPE),
    ({"logprobs": 1}, "logprobs", TYPE),
    ({"top_logprobs": 1}, "top_logprobs", VALUE),
    ({"logprobs": True, "top_logprobs": -2}, "top_logprobs", BELOW),
    ({"logprobs": True, "top_logprobs": 21}, "top_logprobs", ABOVE),
    ({"logprobs": True, "top_logprobs": -1}, "top_logprobs", ABOVE),
    ({"tools": []}, "tools", EMPTY),
    ({"tool_choice": "auto"}, "tool_choice", VALUE),
    ({"continue_final_message": True}, "continue_final_message", VALUE),
    ({"chat_template": "{{ 1 }}"}, "chat_template", UNSUPPORTED),
    ({"chat_template_kwargs": {"messages": []}}, "chat_template_kwargs.messages", VALUE),
    ({"metadata": {str(index): "" for index in range(17)}}, "metadata", LONG),
    ({"metadata": {"a": 1}}, "metadata.a", TYPE),
    ({"metadata": {"a": "x" * 513}}, "metadata.a", LONG_TEXT),
]  # fmt: skip

WRONG_IN_COMPLETIONS: list[tuple[dict[str, Any], str, str]] = [
    ({"prompt": ""}, "prompt", EMPTY),
    ({"prompt": []}, "prompt", EMPTY),
    ({"prompt": [[]]}, "prompt", EMPTY),
    ({"prompt": ["a", ""]}, "prompt", EMPTY),
    ({"prompt": None}, "prompt", TYPE),
    ({"prompt": 1}, "prompt", TYPE),
    ({"prompt": {}}, "prompt", TYPE),
    ({"prompt": [VOCABULARY]}, "prompt", VALUE),
    ({"prompt": [2**40]}, "prompt", VALUE),
    ({"prompt": [-1]}, "prompt[0]", BELOW),
    ({"prompt": [1.5]}, "prompt[0]", TYPE),
    ({"prompt": [2**64]}, "prompt[0]", ABOVE),
    ({"prompt": [True]}, "prompt[0]", TYPE),
    ({"prompt": [1, "a"]}, "prompt[1]", TYPE),
    ({"prompt": [[1], [VOCABULARY]]}, "prompt", VALUE),
    ({"prompt": ["a"] * 1025}, "prompt", LONG),
    ({"prompt": [1] * 1_000_000}, "prompt", "context_length_exceeded"),
    ({"prompt": "x" * 5_000_000}, "prompt", "context_length_exceeded"),
    ({"prompt": ["a"] * 100, "n": 21}, "n", ABOVE),
    ({"logprobs": -2}, "logprobs", BELOW),
    ({"logprobs": 21}, "logprobs", ABOVE),
    ({"logprobs": -1}, "logprobs", ABOVE),
    ({"logprobs": True}, "logprobs", TYPE),
    ({"suffix": "x"}, "suffix", UNSUPPORTED),
    ({"prompt_embeds": "AAAA"}, "prompt_embeds", UNSUPPORTED),
]

DECIMALS = "temperature top_p min_p presence_penalty frequency_penalty repetition_penalty".split()
INTEGERS = (
    "top_k n best_of max_tokens min_tokens seed truncate_prompt_tokens prompt_logprobs".split()
)
BOOLEANS = (
    "stream echo ignore_eos skip_special_tokens include_stop_str_in_output return_token_ids".split()
)
NO_DECIMAL = ("1", True, [1], {"a": 1})
NO_INTEGER = ("1", True, 1.5, [1], {"a": 1})
NO_BOOLEAN = ("true", 1, 0, [True], {"a": True})

RIGHT_IN_BOTH: list[dict[str, Any]] = [
    {"temperature": 0},
    {"temperature": 2},
    {"temperature": 5e-324},
    {"temperature": 1e-40},
    {"temperature": 1e-30},
    {"top_p": 0},
    {"top_p": 5e-324},
    {"top_p": 1},
    {"top_k": -1},
    {"top_k": 0},
    {"top_k": 2**63 - 1},
    {"min_p": 0},
    {"min_p": 1},
    {"presence_penalty": -2},
    {"presence_penalty": 2},
    {"frequency_penalty": -2},
    {"frequency_penalty": 2},
    {"repetition_penalty": 5e-324},
    {"repetition_penalty": 1e-40},
    {"repetition_penalty": 1e308},
    {"n": 1},
    {"n": 128, "max_tokens": 1},
    {"best_of": 20},
    {"max_tokens": 1},
    {"min_tokens": 2},
    {"prompt_logprobs": 0},
    {"prompt_logprobs": 20},
    {"logit_bias": {}},
    {"logit_bias": {"0": -100, str(VOCABULARY - 1): 100}},
    {"logit_bias": {str(token): -100 for token in range(VOCABULARY)}},
    {"stop": []},
    {"stop": ["a", "b", "c", "d" * 4096]},
    {"bad_words": []},
    {"bad_words": ["a"] * 128},
    {"bad_words": SAME_BEGINNING[:16]},
    {"stop_token_ids": [0, VOCABULARY - 1]},
    {"allowed_token_ids": [VOCABULARY - 1]},
    {"allowed_token_ids": list(range(VOCABULARY))},
    {"truncate_prompt_tokens": -1},
    {"truncate_prompt_tokens": 1},
    {"truncate_prompt_tokens": CONTEXT, "max_tokens": 1},
    {"seed": -(2**63)},
    {"seed": 2**63 - 1},
    {"priority": 0},
    {"request_id": "x" * 128},
    {"cache_salt": "x" * 1024},
    {"stream": True, "stream_options": {}},
    dict.fromkeys((*DECIMALS, *INTEGERS, *BOOLEANS, "stop", "logit_bias", "bad_words")),
]

RIGHT_IN_CHAT: list[dict[str, Any]] = [
    {"max_completion_tokens": 1},
    {"logprobs": True, "top_logprobs": 0},
    {"logprobs": True, "top_logprobs": 20},
    {"metadata": {str(index): "x" * 512 for index in range(16)}},
]

RIGHT_IN_COMPLETIONS: list[dict[str, Any]] = [
    {"logprobs": 0},
    {"logprobs": 20},
    {"max_tokens": 0, "echo": True, "logprobs": 1},
    {"prompt": [0, VOCABULARY - 1]},
    {"prompt": [[0], [1]]},
    {"prompt": [1] * (CONTEXT - 2)},
    {"prompt": ["a"] * 1024, "max_tokens": 1},
]

LITERALS = {
    "NaN": b"NaN",
    "Infinity": b"Infinity",
    "minus infinity": b"-Infinity",
    "beyond doubles": b"1e400",
    "lone surrogate": b'"\\ud800"',
    "raw control character": b'"\x00"',
    "not UTF-8": b'"\xff"',
    "deep lists": b"[" * 100_000 + b"]" * 100_000,
    "deep objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "a million members": b"{" + b",".join(b'"%d":1' % i for i in range(1_000_000)) + b"}",
    "nothing": b"",
}


@dataclasses.dataclass
class Streamed:
    """What a stream said, without how it was cut into events."""

    text: str = ""
    token_ids: list[int] = dataclasses.field(default_factory=list)
    logprobs: list[float] = dataclasses.field(default_factory=list)
    finish_reasons: list[str] = dataclasses.field(default_factory=list)


def joined(content: bytes) -> Streamed:
    streamed = Streamed()
    for event in content.removesuffix(b"\n\n").split(b"\n\n")[:-1]:
        (choice,) = json.loads(event.removeprefix(b"data: "))["choices"]
        streamed.text += choice["text"]
        streamed.token_ids += choice["token_ids"] or []
        streamed.logprobs += (choice["logprobs"] or {}).get("token_logprobs", [])
        streamed.finish_reasons += [choice["finish_reason"]] if choice["finish_reason"] else []
    return streamed


class Neighbour:
    """Streams one seeded answer again and again from a thread."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._stop = threading.Event()
        self._wait_until_compiled()
        self.alone = self.stream()
        self.answers: list[Streamed] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _wait_until_compiled(self) -> None:
        # Scoring a prompt is the last kind of step that a new server compiles.
        body = {"prompt": "a", "prompt_logprobs": 0}
        httpx.post(f"{self._url}/v1/completions", json=body, timeout=240).raise_for_status()

    def stream(self) -> Streamed:
        body = {
            "prompt": "Once upon a time",
            "max_tokens": 400,
            "seed": 7,
            "temperature": 0.9,
            "ignore_eos": True,
            "logprobs": 2,
            "return_token_ids": True,
            "stream": True,
        }
        answer = httpx.post(f"{self._url}/v1/completions", json=body, timeout=120)
        assert answer.status_code == 200, answer.text
        assert answer.content.endswith(b"data: [DONE]\n\n")
        return joined(answer.content)

    def _run(self) -> None:
        while not self._stop.is_set():
            self.answers.append(self.stream())

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(timeout=120)
        assert not self._thread.is_alive()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    log = tmp_path_factory.mktemp("bad-input") / "log"
    with serving(log, "--max-model-len", str(CONTEXT)) as url:
        yield url
    assert "Traceback" not in log.read_text()


@pytest.fixture(scope="session")
def neighbour(server: str) -> Iterator[Neighbour]:
    neighbour = Neighbour(server)
    yield neighbour
    neighbour.stop()


@pytest.fixture(scope="session")
def client(server: str, neighbour: Neighbour) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server, timeout=60) as client:
        yield client


def shown(value: object) -> str:
    return ascii(value)[:60]


def cases(both: list[Any], chat: list[Any], completions: list[Any]) -> list[Any]:
    rows = [(target, row) for row in both for target in BOTH]
    rows += [(CHAT, row) for row in chat] + [(COMPLETIONS, row) for row in completions]
    return [pytest.param(*pair, id=f"{pair[0][0][4:8]} {shown(pair[1])}") for pair in rows]


def wrong_types() -> list[tuple[dict[str, Any], str, str]]:
    kinds = ((DECIMALS, NO_DECIMAL), (INTEGERS, NO_INTEGER), (BOOLEANS, NO_BOOLEAN))
    huge = ((2**64, ABOVE), (-(2**70), BELOW))
    return [
        *[
            ({name: value}, name, TYPE)
            for names, values in kinds
            for name in names
            for value in values
        ],
        *[({name: value}, name, code) for name in INTEGERS for value, code in huge],
    ]


@pytest.mark.parametrize(
    ("target", "row"),
    cases([*WRONG_IN_BOTH, *wrong_types()], WRONG_IN_CHAT, WRONG_IN_COMPLETIONS),
)
def test_what_is_wrong_is_named(client: httpx.Client, target: Any, row: Any) -> None:
    (path, base), (fields, param, code) = target, row
    answer = client.post(path, json={**base, **fields})
    assert answer.status_code == 400, answer.text[:500]
    error = answer.json()["error"]
    whole_prompt = "messages" if target is CHAT else "prompt"
    assert (error["param"], error["code"]) == (param or whole_prompt, code), error["message"][:500]
    assert error["type"] == "invalid_request_error"
    assert len(error["message"]) < 1000


@pytest.mark.parametrize(
    ("target", "fields"), cases(RIGHT_IN_BOTH, RIGHT_IN_CHAT, RIGHT_IN_COMPLETIONS)
)
def test_the_limits_themselves_are_right(client: httpx.Client, target: Any, fields: Any) -> None:
    path, base = target
    answer = client.post(path, json={**base, **fields})
    assert answer.status_code == 200, answer.text[:500]
    assert "error" not in answer.text.split('"', 2)[1]


@pytest.mark.parametrize("field", ["temperature", "prompt", "logit_bias", "stop", "unknown"])
@pytest.mark.parametrize("name", LITERALS)
def test_what_is_not_json_is_refused_whole(client: httpx.Client, name: str, field: str) -> None:
    body = b'{"prompt":"a","max_tokens":1,"%s":%s}' % (field.encode(), LITERALS[name])
    answer = client.post(
        "/v1/completions", content=body, headers={"content-type": "application/json"}
    )
    assert answer.status_code == 400
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


@pytest.mark.parametrize("path", [CHAT[0], COMPLETIONS[0], "/tokenize", "/detokenize"])
def test_another_content_type_is_refused_in_vllms_words(client: httpx.Client, path: str) -> None:
    answer = client.post(path, content=b"{}", headers={"content-type": "text/plain"})
    message = "Unsupported Media Type: Only 'application/json' is allowed"
    assert (answer.status_code, answer.json()["error"]["message"]) == (400, message)


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/tokenize", {}, "prompt"),
        ("/tokenize", {"prompt": 1}, "prompt"),
        ("/tokenize", {"prompt": []}, "prompt"),
        ("/tokenize", {"messages": []}, "messages"),
        ("/tokenize", {"prompt": "a", "messages": [USER]}, "prompt"),
        ("/detokenize", {}, "tokens"),
        ("/detokenize", {"tokens": [-1]}, "tokens[0]"),
        ("/detokenize", {"tokens": [VOCABULARY * 2]}, "tokens"),
        ("/detokenize", {"tokens": [1.5]}, "tokens[0]"),
        ("/detokenize", {"tokens": [[1], [2**62]]}, "tokens"),
    ],
)
def test_tokens_are_checked_too(client: httpx.Client, path: str, body: Any, param: str) -> None:
    answer = client.post(path, json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def test_the_neighbour_noticed_nothing(client: httpx.Client, neighbour: Neighbour) -> None:
    neighbour.stop()
    assert len(neighbour.alone.token_ids) == 400
    assert neighbour.answers
    for answer in neighbour.answers:
        assert answer == neighbour.alone
    assert client.get("/ready").status_code == 200
    assert client.get("/load").json() == {"server_load": 0}
