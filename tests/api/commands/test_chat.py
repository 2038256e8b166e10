from __future__ import annotations

import json

import httpx

from api.commands.chat import Conversation, answer, converse


def events(*pieces: str, error: str = "") -> bytes:
    chunks = [{"choices": [{"delta": {"content": piece}}]} for piece in pieces]
    chunks += [{"error": {"message": error}}] if error else []
    lines = [f"data: {json.dumps(chunk)}\n\n" for chunk in chunks]
    return "".join([": keep-alive\n\n", *lines, "data: [DONE]\n\n"]).encode()


class Server:
    """Remembers what it was asked and answers with what it was given."""

    def __init__(self, *answers: httpx.Response) -> None:
        self.answers = list(answers)
        self.asked: list[dict] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.content:
            self.asked.append(json.loads(request.content))
        return self.answers.pop(0)

    def conversation(self, **fields: str) -> Conversation:
        transport = httpx.MockTransport(self)
        return Conversation(httpx.Client(base_url="http://test/v1/", transport=transport), **fields)


def test_an_answer_comes_in_pieces_and_is_remembered():
    server = Server(
        httpx.Response(200, content=events("Hel", "lo")), httpx.Response(200, content=events("x"))
    )
    conversation = server.conversation(model="m", system="Be brief.")
    assert list(conversation.ask("Hi")) == ["Hel", "lo"]
    assert list(conversation.ask("More")) == ["x"]
    assert server.asked[1]["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": "More"},
    ]
    assert server.asked[1]["stream"] is True


def test_commands_reset_and_end():
    server = Server(httpx.Response(200, content=events("a")))
    conversation = server.conversation(model="m")
    written: list[str] = []
    inputs = iter(["one", "/reset", "/what", "", "/quit", "never"])
    converse(conversation, lambda: next(inputs), written.append)
    assert conversation.messages == []
    assert "/reset" in "".join(written)
    assert next(inputs) == "never"


def test_an_error_is_shown_and_forgotten():
    refusal = {"error": {"message": "too long"}}
    server = Server(
        httpx.Response(400, json=refusal), httpx.Response(200, content=events(error="died"))
    )
    conversation = server.conversation(model="m")
    written: list[str] = []
    inputs = iter(["one", "two", "/quit"])
    converse(conversation, lambda: next(inputs), written.append)
    text = "".join(written)
    assert "too long (HTTP 400)" in text
    assert "died" in text
    assert conversation.messages == []


def test_one_quick_question_says_whether_it_was_answered():
    server = Server(
        httpx.Response(200, content=events("yes")), httpx.Response(200, content=events(error="no"))
    )
    conversation = server.conversation(model="m")
    written: list[str] = []
    assert answer(conversation, "Hi", written.append) is True
    assert answer(conversation, "Hi", written.append) is False
    assert "".join(written) == "yes\nerror: no\n"
