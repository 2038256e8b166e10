from __future__ import annotations

import asyncio
import time

import orjson
import pytest

from api.errors import APIError
from api.http.json_body import end_of_string, parse_json_object

HEADERS = {"content-type": "application/json"}


def nested(opening: bytes, depth: int, closing: bytes) -> bytes:
    return b'{"a":' + opening * depth + closing * depth + b"}"


MALFORMED = {
    "empty": b"",
    "cut": b'{"a":',
    "trailing": b'{"a":1} x',
    "two values": b"{}{}",
    "NaN": b'{"a":NaN}',
    "Infinity": b'{"a":Infinity}',
    "minus infinity": b'{"a":-Infinity}',
    "single quotes": b"{'a':1}",
    "invalid UTF-8": b'{"a":"\xff"}',
    "overlong UTF-8": b'{"a":"\xc0\xaf"}',
    "UTF-16": '{"a":1}'.encode("utf-16"),
    "UTF-16 without mark": '{"a":1}'.encode("utf-16-le"),
    "UTF-32": '{"a":1}'.encode("utf-32"),
    "byte order mark": b'\xef\xbb\xbf{"a":1}',
    "lone high surrogate": b'{"a":"\\ud800"}',
    "lone low surrogate": b'{"a":"\\udc00"}',
    "raw control character": b'{"a":"\x00"}',
    "huge exponent": b'{"a":1e400}',
    "not an object": b"[1]",
    "a number": b"1",
    "null": b"null",
    "deep lists": nested(b"[", 100_000, b"]"),
    "deep objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "more lists than can be written again": nested(b"[", 200, b"]"),
    "more objects than can be written again": b'{"a":' * 201 + b"1" + b"}" * 201,
    "unclosed depth": b"[" * 1_000_000,
    "a million keys": b"{" + b",".join(b'"%d":0' % i for i in range(1_000_000)) + b"}",
    "a million lists": b'{"a":[' + b",".join([b"[]"] * 1_000_000) + b"]}",
    "spaced keys": b"{" + b",".join(b'"%d" \t: 0' % i for i in range(200_000)) + b"}",
}


@pytest.mark.parametrize("name", MALFORMED)
async def test_what_is_not_an_object_is_400_and_stalls_nobody(make_world, name):
    client = make_world().app.test_client()
    longest_gap_s = 0.0
    is_over = False

    async def watch() -> None:
        nonlocal longest_gap_s
        while not is_over:
            before = time.perf_counter()
            await asyncio.sleep(0)
            longest_gap_s = max(longest_gap_s, time.perf_counter() - before)

    watcher = asyncio.create_task(watch())
    response = await client.post("/t/json", data=MALFORMED[name], headers=HEADERS)
    is_over = True
    await watcher
    assert response.status_code == 400
    assert (await response.get_json())["error"]["type"] == "invalid_request_error"
    # 50 ms is the promise; the bound here leaves room for a busy machine.
    assert longest_gap_s < 0.25


def test_what_is_taken_in_can_be_written_again_within_more():
    value = parse_json_object(nested(b"[", 199, b"]"))
    for _ in range(50):
        value = {"kept": value}
    assert orjson.dumps(value)


def test_many_lists_beside_one_another_are_not_deep():
    assert len(parse_json_object(b'{"a":[' + b",".join([b"[]"] * 1000) + b"]}")["a"]) == 1000


def test_a_number_beyond_64_bits_is_never_infinite():
    value = parse_json_object(b'{"a":123456789012345678901234567890}')["a"]
    assert value == pytest.approx(1.2345678901234568e29)


def test_the_last_of_two_equal_keys_wins():
    assert parse_json_object(b'{"a":1,"a":2}') == {"a": 2}


def test_a_long_text_full_of_punctuation_is_fine():
    text = b'{"a":"' + b'\\",:[{' * 200_000 + b'"}'
    assert len(parse_json_object(text)["a"]) == 1_000_000


def test_a_prompt_of_a_million_token_ids_is_fine():
    body = b'{"prompt":[' + b",".join([b"12345"] * 1_000_000) + b"]}"
    assert len(parse_json_object(body)["prompt"]) == 1_000_000


@pytest.mark.parametrize(
    ("text", "end"), [(b'ab"c', 3), (b'a\\"b"c', 5), (b'a\\\\"c', 4), (b"ab", 2), (b'"', 1)]
)
def test_the_end_of_a_string_is_found_behind_escapes(text, end):
    assert end_of_string(text, 0) == end


def test_a_string_of_backslashes_costs_linear_time():
    body = b'{"a":"' + b"\\\\" * 1_000_000 + b'\\"' * 10 + b'"}'
    started = time.process_time()
    parse_json_object(body)
    assert time.process_time() - started < 2


@pytest.mark.parametrize("kind", ["", "text/plain", "application/x-www-form-urlencoded", "a/b; c"])
async def test_another_content_type_is_400_in_vllms_words(make_world, kind):
    client = make_world().app.test_client()
    response = await client.post("/t/json", data=b"{}", headers={"content-type": kind})
    assert response.status_code == 400
    error = (await response.get_json())["error"]
    assert error["message"] == "Unsupported Media Type: Only 'application/json' is allowed"
    assert error["code"] == "unsupported_content_type"


async def test_a_charset_is_accepted(make_world):
    client = make_world().app.test_client()
    headers = {"content-type": "Application/JSON; charset=utf-8"}
    assert (await client.post("/t/json", data=b"{}", headers=headers)).status_code == 200


async def test_a_body_over_the_limit_is_413(make_world):
    client = make_world(max_body_bytes=1024).app.test_client()
    response = await client.post("/t/json", data=b" " * 1025, headers=HEADERS)
    assert response.status_code == 413
    assert (await response.get_json())["error"]["code"] == "request_too_large"


def test_the_reason_does_not_repeat_the_body():
    with pytest.raises(APIError) as caught:
        parse_json_object(b'{"password": hunter2}')
    assert "hunter2" not in caught.value.message
