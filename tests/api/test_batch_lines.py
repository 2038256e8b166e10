from __future__ import annotations

import json

import orjson
import pytest

from api.batch_lines import LineError, as_line, parse_line, result_of, result_of_error
from api.workers.batches.answering import expired_line

URLS = frozenset({"/v1/completions"})
GOOD = {"custom_id": "a", "method": "POST", "url": "/v1/completions", "body": {"prompt": "x"}}


def refusal(line: object, *, strict_fields: bool = False) -> LineError:
    raw = line if isinstance(line, bytes) else json.dumps(line).encode()
    with pytest.raises(LineError) as caught:
        parse_line(raw, URLS, strict_fields=strict_fields)
    return caught.value


def test_a_line_that_could_not_be_written_again_is_refused():
    deep = b'{"custom_id":"a","body":{"prompt":' + b"[" * 200 + b"]" * 200 + b"}}"
    assert refusal(deep).error.code == "json_too_complex"


def test_a_line_is_a_request():
    request = parse_line(json.dumps(GOOD).encode(), URLS, strict_fields=True)
    assert (request.custom_id, request.url, request.body) == (
        "a",
        "/v1/completions",
        {"prompt": "x"},
    )


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"custom_id": 1}, "custom_id"),
        ({"method": "GET"}, "method"),
        ({"url": "/v1/embeddings"}, "url"),
        ({"url": "http://elsewhere/v1/completions"}, "url"),
        ({"url": None}, "url"),
        ({"body": []}, "body"),
        ({"body": {"stream": True}}, "stream"),
    ],
)
def test_what_a_batch_does_not_do_is_named(changes, param):
    assert refusal({**GOOD, **changes}).error.param == param


def test_members_of_a_line_that_nobody_knows_are_noted_or_refused():
    given = {**GOOD, "priority": 1, "foo": 2}
    request = parse_line(json.dumps(given).encode(), URLS, strict_fields=False)
    assert request.unknown == ("priority", "foo")
    error = refusal(given, strict_fields=True).error
    assert (error.status, error.param, error.code) == (400, "priority", "unknown_parameter")


@pytest.mark.parametrize("line", [b"{", b"[]", b"\xff", b'{"a": NaN}', b"1" * 10])
def test_what_is_no_request_is_refused(line):
    assert refusal(line).error.status == 400


def test_a_refused_line_keeps_its_id_and_has_the_error_of_the_api():
    failure = refusal({**GOOD, "url": "/x"})
    result = json.loads(result_of_error(failure, "openai"))
    assert result["custom_id"] == "a"
    assert result["response"]["status_code"] == 400
    assert result["response"]["body"] is None
    assert set(result["error"]["error"]) == {"message", "type", "param", "code"}


def test_an_answer_has_a_body_and_no_error():
    result = json.loads(result_of("a", 200, "req_1", {"choices": []}))
    assert result["error"] is None
    assert result["response"] == {
        "status_code": 200,
        "request_id": "req_1",
        "body": {"choices": []},
    }


BREAKS = "a\x85b\u2028c\u2029d"


@pytest.mark.parametrize(
    "line",
    [
        result_of(BREAKS, 200, "req_1", {"text": BREAKS}),
        expired_line(BREAKS),
        as_line({"custom_id": BREAKS, "body": orjson.Fragment(orjson.dumps(BREAKS))}),
    ],
)
def test_a_result_is_one_line_by_unicodes_rules_too(line):
    assert len(line.decode().splitlines()) == 1
    assert json.loads(line)["custom_id"] == BREAKS
