from __future__ import annotations

import asyncio

import pytest

from api.http.http1 import origin_form

GET = b"GET /version HTTP/1.1\r\nhost: a\r\n"
SMUGGLED = b"GET /t/things/smuggled HTTP/1.1\r\nhost: a\r\n\r\n"
CHUNKED = b"POST /t/json HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n"

HOSTILE = {
    "length and encoding": CHUNKED
    + b"content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"
    + SMUGGLED,
    "encoding and length": CHUNKED
    + b"transfer-encoding: chunked\r\ncontent-length: 6\r\n\r\n0\r\n\r\n"
    + SMUGGLED,
    "two lengths": CHUNKED + b"content-length: 2\r\ncontent-length: 3\r\n\r\n{}" + SMUGGLED,
    "negative length": CHUNKED + b"content-length: -1\r\n\r\n{}" + SMUGGLED,
    "huge length": CHUNKED + b"content-length: 99999999999999999999\r\n\r\n{}",
    "unknown encoding": CHUNKED + b"transfer-encoding: gzip\r\n\r\n{}",
    "two encodings": CHUNKED + b"transfer-encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "bad chunk": CHUNKED + b"transfer-encoding: chunked\r\n\r\nZZ\r\n{}\r\n0\r\n\r\n",
    "NUL in a header": GET + b"x: a\x00b\r\n\r\n",
    "NUL in the path": b"GET /\x00 HTTP/1.1\r\nhost: a\r\n\r\n",
    "space before colon": GET + b"x : b\r\n\r\n",
    "no host": b"GET /version HTTP/1.1\r\n\r\n",
    "two hosts": GET + b"host: b\r\n\r\n",
    "odd host": b"GET /version HTTP/1.1\r\nhost: a/b?c@d\r\n\r\n",
    "host with a space": b"GET /version HTTP/1.1\r\nhost: a b\r\n\r\n",
    "host with quotes": b'GET /version HTTP/1.1\r\nhost: "><script>\r\n\r\n',
    "non-ascii path": b"GET /\xff\xfe HTTP/1.1\r\nhost: a\r\n\r\n",
    "star": b"OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n",
    "query only": b"GET ?x HTTP/1.1\r\nhost: a\r\n\r\n",
    "malformed absolute": b"GET http://[ HTTP/1.1\r\nhost: a\r\n\r\n",
    "other scheme": b"GET ftp://a/version HTTP/1.1\r\nhost: a\r\n\r\n",
    "connect": b"CONNECT a:443 HTTP/1.1\r\nhost: a\r\n\r\n",
    "not HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/9": b"GET /version HTTP/9.9\r\nhost: a\r\n\r\n",
    "5000 headers": GET + b"".join(b"x%d: 1\r\n" % i for i in range(5000)) + b"\r\n",
    "500 headers": GET + b"".join(b"x%d: 1\r\n" % i for i in range(500)) + b"\r\n",
    "one long header": GET + b"x: " + b"a" * 200_000 + b"\r\n\r\n",
    "one long path": b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nhost: a\r\n\r\n",
    "bad websocket": GET + b"connection: upgrade\r\nupgrade: websocket\r\n\r\n",
    "websocket": GET
    + b"connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n"
    + b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
}

HARMLESS = {
    "folded header": GET + b"x: a\r\n b\r\n\r\n",
    "bare line feeds": b"GET /version HTTP/1.1\nhost: a\n\n",
    "cleartext HTTP/2 upgrade": GET
    + b"connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n\r\n",
    "absolute form": b"GET http://elsewhere/version HTTP/1.1\r\nhost: a\r\n\r\n",
    "HTTP/1.0": b"GET /version HTTP/1.0\r\n\r\n",
    "ipv6 host": b"GET /version HTTP/1.1\r\nhost: [::1]:8000\r\n\r\n",
    "empty host": b"GET /version HTTP/1.1\r\nhost:\r\n\r\n",
    "unknown host": b"GET /version HTTP/1.1\r\nhost: evil.example\r\n\r\n",
}


async def exchange(net, world, data: bytes) -> bytes:
    """All that the server says to `data` until it closes or is silent for a while."""
    answer = b""
    async with net.listening(world) as port:
        wire = await net.connect(port)
        await wire.send(data)
        try:
            while True:
                # Long for the first bytes, for busy machines; short for a second answer.
                async with asyncio.timeout(0.2 if answer else 3):
                    part = await wire.reader.read(65536)
                if not part:
                    break
                answer += part
        except (TimeoutError, ConnectionError):
            pass
        wire.close()
    return answer


@pytest.mark.parametrize("name", HOSTILE)
async def test_hostile_http_gets_one_4xx_at_most(make_world, net, name):
    answer = await exchange(net, make_world(), HOSTILE[name])
    assert answer.count(b"HTTP/1.1 ") == (0 if answer == b"" else 1)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 4")
    assert b"smuggled" not in answer


@pytest.mark.parametrize("name", HARMLESS)
async def test_odd_but_harmless_http_is_answered_once(make_world, net, name):
    answer = await exchange(net, make_world(), HARMLESS[name])
    assert answer.count(b"HTTP/1.1 ") == 1
    assert answer.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "name",
    ["length and encoding", "5000 headers", "odd host", "star", "bad chunk", "one long path"],
)
async def test_refusals_of_the_protocol_have_the_envelope(make_world, net, name):
    answer = await exchange(net, make_world(), HOSTILE[name])
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"content-type: application/json" in head
    assert b"x-request-id: req_" in head
    assert b"connection: close" in head
    assert body.startswith(b'{"error":{"message":')


async def test_pipelined_requests_get_one_answer_and_a_close(make_world, net):
    answer = await exchange(net, make_world(), (GET + b"\r\n") * 3)
    assert answer.count(b"HTTP/1.1 200") == 1


async def test_a_connection_serves_many_requests(make_world, net):
    async with net.listening(make_world()) as port:
        wire = await net.connect(port)
        for _ in range(5):
            await wire.send(GET + b"\r\n")
            assert b"200" in await wire.read_until(b"}")
        wire.close()


async def test_a_request_right_after_the_answer_to_HEAD_is_answered(make_world, net):
    async with net.listening(make_world()) as port:
        wire = await net.connect(port)
        for _ in range(3):
            await wire.send(b"HEAD /t/slow HTTP/1.1\r\nhost: a\r\n\r\n")
            assert b" 200 " in await wire.read_until(b"\r\n\r\n")
            await wire.send(GET + b"\r\n")
            assert b" 200 " in await wire.read_until(b"}")
        wire.close()


async def test_a_413_arrives_while_the_client_is_still_sending(make_world, net):
    async with net.listening(make_world(max_body_bytes=1024)) as port:
        wire = await net.connect(port)
        await wire.send(net.post("/t/json", b" " * 10_000_000)[:5_000_000])
        assert b" 413 " in await wire.read_until(b"\r\n")
        wire.close()


async def test_a_connection_lives_on_after_a_refusal_before_the_body(make_world, net):
    async with net.listening(make_world(api_keys=("k",))) as port:
        wire = await net.connect(port)
        for _ in range(3):
            request = net.post("/t/json", b"{}" + b" " * 100_000)
            await wire.send(request[:200])
            assert b" 401 " in await wire.read_until(b"}}")
            await wire.send(request[200:])
        await wire.send(GET + b"\r\n")
        assert b" 200 " in await wire.read_until(b"}")
        wire.close()


async def test_a_refused_client_that_never_ends_its_body_is_cut_off(make_world, net, monkeypatch):
    monkeypatch.setattr("api.http.http1.LINGER_S", 0.1)
    async with net.listening(make_world(api_keys=("k",))) as port:
        wire = await net.connect(port)
        await wire.send(net.post("/t/json", b" " * 100)[:-50])
        answer = await wire.read_all()
        assert answer.count(b"HTTP/1.1 ") == 1
        wire.close()


async def test_a_413_arrives_for_chunked_bodies_too(make_world, net):
    async with net.listening(make_world(max_body_bytes=1024)) as port:
        wire = await net.connect(port)
        chunk = b"400\r\n" + b" " * 0x400 + b"\r\n"
        await wire.send(CHUNKED + b"transfer-encoding: chunked\r\n\r\n" + chunk * 500)
        assert b" 413 " in await wire.read_until(b"\r\n")
        wire.close()


async def test_a_body_that_never_arrives_is_408(make_world, net):
    async with net.listening(make_world(body_timeout_s=0.1)) as port:
        wire = await net.connect(port)
        await wire.send(net.post("/t/json", b"{}   ")[:-3])
        assert b" 408 " in await wire.read_until(b"\r\n")
        wire.close()


async def test_a_broken_chunk_is_400_and_the_end_of_the_connection(make_world, net, monkeypatch):
    monkeypatch.setattr("api.http.http1.LINGER_S", 0.1)
    world = make_world()
    async with net.listening(world) as port:
        wire = await net.connect(port)
        await wire.send(CHUNKED + b"transfer-encoding: chunked\r\n\r\n")
        await net.until(lambda: world.state.admission.num_in_flight == 1)
        await wire.send(b"ZZ\r\n")
        answer = await wire.read_all()
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert answer.count(b"HTTP/1.1 ") == 1
        assert b'{"error":{"message":"The request is not valid HTTP."' in answer
        await net.until(lambda: world.state.admission.num_in_flight == 0)
        wire.close()


@pytest.mark.parametrize(
    ("request_head", "status"),
    [
        (b"GET /version HTTP/1.1\r\nhost: a\r\nx: " + b"a" * 900, 200),
        (b"GET /version HTTP/1.1\r\nhost: a\r\nx: " + b"a" * 1100, 431),
        (b"GET /version?" + b"a" * 900 + b" HTTP/1.1\r\nhost: a", 200),
        (b"GET /version?" + b"a" * 1100 + b" HTTP/1.1\r\nhost: a", 414),
    ],
)
async def test_the_size_of_headers_and_path_is_bounded_to_the_byte(
    make_world, net, request_head, status
):
    world = make_world(max_header_bytes=1024)
    answer = await exchange(net, world, request_head + b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 %d " % status)


async def closed_within(port: int, timeout_s: float, net, *requests: bytes) -> bool:
    """Whether the server has let go of its socket soon after the client closed its own side."""
    wire = await net.connect(port)
    for request in requests:
        await wire.send(request)
        await wire.read_until(b"}")
    wire.writer.write_eof()
    try:
        await wire.read_all(timeout_s)
    except TimeoutError:
        return False
    finally:
        wire.close()
    return True


@pytest.mark.parametrize("num_requests", [0, 1, 3])
async def test_the_server_closes_at_once_when_the_client_does(make_world, net, num_requests):
    async with net.listening(make_world(keep_alive_timeout_s=60.0)) as port:
        assert await closed_within(port, 2.0, net, *[GET + b"\r\n"] * num_requests)


async def test_no_task_of_a_connection_outlives_its_client(make_world, net):
    async with net.listening(make_world(keep_alive_timeout_s=60.0)) as port:
        for _ in range(5):
            wire = await net.connect(port)
            await wire.send(GET + b"\r\n")
            await wire.read_until(b"}")
            wire.close()
        await net.until(
            lambda: not any("tcp_server" in repr(task) for task in asyncio.all_tasks()),
            timeout_s=2.0,
        )


async def test_an_idle_connection_is_closed_after_the_keep_alive_timeout(make_world, net):
    async with net.listening(make_world(keep_alive_timeout_s=0.2)) as port:
        wire = await net.connect(port)
        await wire.send(GET + b"\r\n")
        await wire.read_until(b"}")
        await wire.read_all(2.0)
        wire.close()


async def test_expect_continue_is_answered(make_world, net):
    async with net.listening(make_world()) as port:
        wire = await net.connect(port)
        request = net.post("/t/json", b"{}", b"expect: 100-continue")
        await wire.send(request[:-2])
        assert b" 100 " in await wire.read_until(b"\r\n\r\n")
        await wire.send(request[-2:])
        assert b" 200 " in await wire.read_until(b"\r\n")
        wire.close()


async def test_the_server_does_not_say_what_it_runs_on(make_world, net):
    answer = await exchange(net, make_world(), GET + b"\r\n")
    assert b"hypercorn" not in answer.lower()


@pytest.mark.parametrize(
    "path",
    ["/t/things/a%2fb", "/t/things/a/b", "/t/things/%00", "/t/things/%ff", "/t/things/%2e%2e"],
)
async def test_escapes_in_paths_never_break_the_server(make_world, net, path):
    request = f"GET {path} HTTP/1.1\r\nhost: a\r\n\r\n".encode()
    answer = await exchange(net, make_world(), request)
    assert answer.startswith((b"HTTP/1.1 200", b"HTTP/1.1 404"))


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (b"/a?b", b"/a?b"),
        (b"http://h/a?b", b"/a?b"),
        (b"HTTPS://h", b"/"),
        (b"http://h?b", b"/?b"),
        (b"*", None),
        (b"h:443", None),
    ],
)
def test_targets_become_paths(target, path):
    assert origin_form(target) == path
