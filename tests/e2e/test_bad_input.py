"""Every illegal value of every field is a 400 that names the field, and costs nobody else anything.

One real server takes the whole table while a neighbour streams the same seeded answer over and
over; at the end every one of its streams has the text, ids and logprobs, to the last byte, that
it had alone. (How many tokens share an event depends on time, so events are joined first.)
"""

from __future__ import annotations

import pathlib
import runpy
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

HERE = pathlib.Path(__file__).resolve().parent
serving = runpy.run_path(str(HERE.parent / "sdk" / "conftest.py"))["serving"]
Neighbour: Any = runpy.run_path(str(HERE / "neighbour.py"))["Neighbour"]
table = SimpleNamespace(**runpy.run_path(str(HERE / "bad_input_rows.py")))


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    log = tmp_path_factory.mktemp("bad-input") / "log"
    with serving(log, "--max-model-len", str(table.CONTEXT)) as url:
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
    rows = [(target, row) for row in both for target in table.BOTH]
    rows += [(table.CHAT, row) for row in chat] + [(table.COMPLETIONS, row) for row in completions]
    return [pytest.param(*pair, id=f"{pair[0][0][4:8]} {shown(pair[1])}") for pair in rows]


@pytest.mark.parametrize(
    ("target", "row"),
    cases(
        [*table.WRONG_IN_BOTH, *table.wrong_types()],
        table.WRONG_IN_CHAT,
        table.WRONG_IN_COMPLETIONS,
    ),
)
def test_what_is_wrong_is_named(client: httpx.Client, target: Any, row: Any) -> None:
    (path, base), (fields, param, code) = target, row
    answer = client.post(path, json={**base, **fields})
    assert answer.status_code == 400, answer.text[:500]
    error = answer.json()["error"]
    whole_prompt = "messages" if target is table.CHAT else "prompt"
    assert (error["param"], error["code"]) == (param or whole_prompt, code), error["message"][:500]
    assert error["type"] == "invalid_request_error"
    assert len(error["message"]) < 1000


@pytest.mark.parametrize(
    ("target", "fields"),
    cases(table.RIGHT_IN_BOTH, table.RIGHT_IN_CHAT, table.RIGHT_IN_COMPLETIONS),
)
def test_the_limits_themselves_are_right(client: httpx.Client, target: Any, fields: Any) -> None:
    path, base = target
    answer = client.post(path, json={**base, **fields})
    assert answer.status_code == 200, answer.text[:500]
    assert "error" not in answer.text.split('"', 2)[1]


@pytest.mark.parametrize("field", ["temperature", "prompt", "logit_bias", "stop", "unknown"])
@pytest.mark.parametrize("name", table.LITERALS)
def test_what_is_not_json_is_refused_whole(client: httpx.Client, name: str, field: str) -> None:
    body = b'{"prompt":"a","max_tokens":1,"%s":%s}' % (field.encode(), table.LITERALS[name])
    answer = client.post(
        "/v1/completions", content=body, headers={"content-type": "application/json"}
    )
    assert answer.status_code == 400
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


@pytest.mark.parametrize("path", [table.CHAT[0], table.COMPLETIONS[0], "/tokenize", "/detokenize"])
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
        ("/tokenize", {"prompt": "a", "messages": [table.USER]}, "prompt"),
        ("/detokenize", {}, "tokens"),
        ("/detokenize", {"tokens": [-1]}, "tokens[0]"),
        ("/detokenize", {"tokens": [table.VOCABULARY * 2]}, "tokens"),
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
