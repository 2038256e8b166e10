from __future__ import annotations

import httpx
import pytest

from api.commands.terminal import ServerError, first_model, readable


def client_of(answer: httpx.Response | Exception) -> httpx.Client:
    def respond(request: httpx.Request) -> httpx.Response:
        if isinstance(answer, Exception):
            raise answer
        return answer

    return httpx.Client(base_url="http://test/v1/", transport=httpx.MockTransport(respond))


def test_the_first_model_is_taken():
    models = httpx.Response(200, json={"data": [{"id": "one"}, {"id": "two"}]})
    assert first_model(client_of(models)) == "one"


def test_a_server_that_is_not_there_is_a_sentence():
    with pytest.raises(ServerError, match="refused"):
        first_model(client_of(httpx.ConnectError("refused")))


def test_a_refusal_is_a_sentence():
    with pytest.raises(ServerError, match="HTTP 401"):
        first_model(client_of(httpx.Response(401, content=b"?")))


def test_bytes_that_are_no_text_are_asked_as_question_marks():
    typed = b"hello \xff".decode(errors="surrogateescape")
    assert readable(typed) == "hello ?"
