from __future__ import annotations

import json

import httpx
import pytest

from api.commands.complete import Completer, repeat, show
from api.commands.terminal import ServerError


def events(*pieces: str, error: str = "") -> bytes:
    chunks = [{"choices": [{"text": piece}]} for piece in pieces]
    chunks += [{"error": {"message": error}}] if error else []
    return "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks).encode()


def completer(*answers: httpx.Response, asked: list | None = None) -> Completer:
    left = list(answers)

    def answer(request: httpx.Request) -> httpx.Response:
        if asked is not None:
            asked.append(json.loads(request.content))
        return left.pop(0)

    client = httpx.Client(base_url="http://test/v1/", transport=httpx.MockTransport(answer))
    return Completer(client, "m", {"max_tokens": 4})


def test_a_continuation_comes_in_pieces():
    asked: list[dict] = []
    one = completer(httpx.Response(200, content=events("a", "b")), asked=asked)
    assert list(one.complete("x")) == ["a", "b"]
    assert asked == [{"max_tokens": 4, "model": "m", "prompt": "x", "stream": True}]


def test_a_refusal_says_why():
    body = {"error": {"message": "too long"}}
    one = completer(httpx.Response(400, json=body))
    with pytest.raises(ServerError, match=r"too long \(HTTP 400\)"):
        list(one.complete("x"))


def test_an_error_in_the_stream_ends_it_with_failure(capsys):
    one = completer(httpx.Response(200, content=events("a", error="gone")))
    written: list[str] = []
    assert show(one, "x", written.append) is False
    assert "".join(written) == "a\n"
    assert "gone" in capsys.readouterr().err


def test_every_line_is_a_prompt_until_the_end():
    answers = [httpx.Response(200, content=events(text)) for text in ("1", "2")]
    asked: list[dict] = []
    one = completer(*answers, asked=asked)
    lines = iter(["first", "  ", "second", "/quit"])
    written: list[str] = []
    repeat(one, lambda: next(lines), written.append)
    assert [body["prompt"] for body in asked] == ["first", "second"]
    assert "".join(written) == "1\n2\n"
