"""Files and uploads over the routes; the storage is real."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
from types import SimpleNamespace

import pytest
from quart.datastructures import FileStorage

from api.app import create_app, make_state
from api.services.files import uploads
from api.services.files.names import blob_key
from api.services.files.remove import sweep_files
from api.services.files.uploads import sweep_uploads
from api.settings import ServerSettings
from api.storage.tables.files import FileRow
from api.storage.tables.uploads import UploadRow

DATA = bytes(range(256)) * 1000
KEYS = ("key-one", "key-two")


@pytest.fixture
def state(storage):
    made = make_state(ServerSettings(api_keys=KEYS, max_file_bytes=2**20), "m")
    made.take_storage(storage)
    return made


class Client:
    """The routes, called with one key."""

    def __init__(self, app, key):
        self._client = app.test_client()
        self._headers = {"authorization": f"Bearer {key}"}

    async def ask(self, method, path, *, headers=None, **options):
        headers = {**self._headers, **(headers or {})}
        response = await self._client.open(path, method=method, headers=headers, **options)
        data = await response.get_data(as_text=False)
        is_json = response.mimetype == "application/json"
        return response.status_code, json.loads(data) if is_json else data, response.headers

    async def upload(self, data=DATA, filename="a.jsonl", **fields):
        form = {"purpose": "batch", **fields}
        files = {"file": FileStorage(io.BytesIO(data), filename=filename)}
        status, body, _ = await self.ask("POST", "/v1/files", form=form, files=files)
        return status, body


@pytest.fixture
def one(state):
    return Client(create_app(state), KEYS[0])


@pytest.fixture
def two(state):
    return Client(create_app(state), KEYS[1])


async def test_an_uploaded_file_is_listed_retrieved_downloaded_and_deleted(one):
    status, file = await one.upload(filename="dir/büro.jsonl")
    assert (status, file["object"], file["bytes"]) == (200, "file", len(DATA))
    assert (file["filename"], file["purpose"], file["status"]) == (
        "büro.jsonl", "batch", "processed")  # fmt: skip
    assert file["id"].startswith("file-")
    path = f"/v1/files/{file['id']}"
    assert (await one.ask("GET", path))[1] == file
    assert (await one.ask("GET", "/v1/files"))[1]["data"] == [file]
    status, data, headers = await one.ask("GET", f"{path}/content")
    assert (status, data) == (200, DATA)
    assert headers["content-length"] == str(len(DATA))
    assert (await one.ask("DELETE", path))[1] == {
        "id": file["id"], "object": "file", "deleted": True}  # fmt: skip
    for method, gone in (("GET", path), ("GET", f"{path}/content"), ("DELETE", path)):
        assert (await one.ask(method, gone))[0] == 404


async def test_another_key_sees_nothing_of_a_file(one, two):
    _, file = await one.upload()
    path = f"/v1/files/{file['id']}"
    for method, asked in (("GET", path), ("GET", f"{path}/content"), ("DELETE", path)):
        status, body, _ = await two.ask(method, asked)
        assert (status, body["error"]["code"]) == (404, "not_found")
    assert (await two.ask("GET", "/v1/files"))[1]["data"] == []
    assert (await one.ask("GET", path))[0] == 200


@pytest.mark.parametrize(
    ("wanted", "status", "start", "end"),
    [
        ("bytes=0-9", 206, 0, 10),
        ("bytes=5-", 206, 5, len(DATA)),
        ("bytes=-7", 206, len(DATA) - 7, len(DATA)),
        (f"bytes=0-{10**17}", 206, 0, len(DATA)),
        (f"bytes=0-{10**30}", 206, 0, len(DATA)),
        ("bytes=0-" + "9" * 9000, 206, 0, len(DATA)),
        ("bytes=" + "0" * 9000 + "5-" + "0" * 9000 + "6", 206, 5, 7),
        (f"bytes=-{10**30}", 206, 0, len(DATA)),
        ("Bytes= 0-9 ", 206, 0, 10),
        ("bytes=0-\u0669", 200, 0, len(DATA)),
        ("bytes=-", 200, 0, len(DATA)),
        ("bytes=9-5", 200, 0, len(DATA)),
        ("lines=1-2", 200, 0, len(DATA)),
        ("bytes=0-1,3-4", 200, 0, len(DATA)),
    ],
)
async def test_a_range_is_part_of_the_bytes(one, wanted, status, start, end):
    _, file = await one.upload()
    path = f"/v1/files/{file['id']}/content"
    got, data, headers = await one.ask("GET", path, headers={"range": wanted})
    assert (got, data) == (status, DATA[start:end])
    if status == 206:
        assert headers["content-range"] == f"bytes {start}-{end - 1}/{len(DATA)}"


@pytest.mark.parametrize(
    "wanted", [f"{len(DATA)}-", f"{10**30}-", f"{10**30}-{10**31}", "-0", f"{len(DATA)}-{10**30}"]
)
async def test_a_range_outside_of_the_file_is_416(one, wanted):
    _, file = await one.upload()
    path = f"/v1/files/{file['id']}/content"
    status, body, headers = await one.ask("GET", path, headers={"range": f"bytes={wanted}"})
    assert (status, body["error"]["code"]) == (416, "range_not_satisfiable")
    assert headers["content-range"] == f"bytes */{len(DATA)}"


async def test_of_an_empty_file_there_is_no_part(one):
    _, file = await one.upload(b"")
    path = f"/v1/files/{file['id']}/content"
    for wanted, status in (("bytes=-5", 200), ("bytes=0-", 416), ("bytes=-0", 416)):
        assert (await one.ask("GET", path, headers={"range": wanted}))[0] == status


RANGE = {"range": "bytes=0-9"}


@pytest.mark.parametrize(
    ("method", "asked", "status", "num_bytes"),
    [
        ("GET", {"if-none-match": "{etag}"}, 304, 0),
        ("GET", {"if-none-match": 'W/{etag}, "other"', **RANGE}, 304, 0),
        ("HEAD", {"if-none-match": "*"}, 304, 0),
        ("GET", {"if-none-match": '"other"'}, 200, len(DATA)),
        ("GET", {"if-match": "{etag}", **RANGE}, 206, 10),
        ("GET", {"if-match": "*"}, 200, len(DATA)),
        ("GET", {"if-match": '"other"', **RANGE}, 412, None),
        ("GET", {"if-match": "W/{etag}"}, 412, None),
        ("GET", {"if-range": "{etag}", **RANGE}, 206, 10),
        ("GET", {"if-range": "W/{etag}", **RANGE}, 200, len(DATA)),
        ("GET", {"if-range": '"other"', **RANGE}, 200, len(DATA)),
        ("GET", {"if-range": "Sat, 28 Nov 2026 07:00:00 GMT", **RANGE}, 200, len(DATA)),
        ("GET", {"if-range": '"other"', "range": f"bytes={10**30}-"}, 200, len(DATA)),
        ("HEAD", RANGE, 200, 0),
    ],
)
async def test_conditions_are_those_of_http(one, method, asked, status, num_bytes):
    _, file = await one.upload()
    path, etag = f"/v1/files/{file['id']}/content", f'"{file["id"]}"'
    asked = {name: value.replace("{etag}", etag) for name, value in asked.items()}
    got, data, headers = await one.ask(method, path, headers=asked)
    assert got == status
    if num_bytes is not None:
        assert (len(data), headers["etag"]) == (num_bytes, etag)
    assert ("content-range" in headers) is (status == 206)


async def test_head_tells_how_long_the_whole_file_is(one, state, net):
    _, file = await one.upload()
    app = create_app(state)
    head = f"HEAD /v1/files/{file['id']}/content HTTP/1.1\r\nhost: a\r\nrange: bytes=0-9\r\n"
    async with net.listening(SimpleNamespace(app=app, state=state)) as port:
        wire = await net.connect(port)
        await wire.send(head.encode() + f"authorization: Bearer {KEYS[0]}\r\n\r\n".encode())
        answer = await wire.read_until(b"\r\n\r\n")
        wire.close()
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert f"content-length: {len(DATA)}\r\n".encode() in answer
    assert f'etag: "{file["id"]}"'.encode() in answer


async def test_pages_of_files_by_purpose_order_and_cursor(one):
    made = [(await one.upload(b"x", purpose=name))[1] for name in ("batch", "vision", "batch")]
    ids = [file["id"] for file in made]
    _, body, _ = await one.ask("GET", "/v1/files?purpose=batch&order=asc&limit=1")
    assert ([file["id"] for file in body["data"]], body["has_more"]) == ([ids[0]], True)
    _, body, _ = await one.ask("GET", f"/v1/files?purpose=batch&order=asc&after={ids[0]}")
    assert ([file["id"] for file in body["data"]], body["has_more"]) == ([ids[2]], False)
    for query, param in (("limit=0", "limit"), ("order=up", "order"), ("after=%00", "after")):
        status, body, _ = await one.ask("GET", f"/v1/files?{query}")
        assert (status, body["error"]["param"]) == (400, param)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"purpose": "fun"}, "purpose"),
        ({"expires_after[anchor]": "created_at"}, "expires_after.seconds"),
        ({"expires_after[anchor]": "created_at", "expires_after[seconds]": "5"},
         "expires_after.seconds"),
        ({"expires_after[anchor]": "x", "expires_after[seconds]": "3600"},
         "expires_after.anchor"),
        ({"expires_after": "soon"}, "expires_after"),
    ],
)  # fmt: skip
async def test_a_bad_field_of_the_form_is_named_and_nothing_is_kept(one, storage, fields, param):
    status, body = await one.upload(**fields)
    assert (status, body["error"]["param"]) == (400, param)
    assert await count(storage, FileRow) == 0
    assert not [path for path in storage.blobs.folder.rglob("*") if path.is_file()]


async def count(storage, table):
    from sqlalchemy import func, select

    async with storage.database.reading() as session:
        return await session.scalar(select(func.count()).select_from(table))


async def test_a_field_of_the_form_that_comes_twice_is_refused(one, storage):
    def field(name, value):
        return f'--b\r\ncontent-disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'

    expires = "expires_after[anchor]"
    for names, param in (
        (("purpose", "purpose"), "purpose"),
        (("purpose", expires, expires), "expires_after.anchor"),
        ((expires, "expires_after"), "expires_after"),
        (("expires_after", expires), "expires_after"),
    ):
        data = "".join(field(name, "batch") for name in names) + field('file"; filename="a', "x")
        headers = {"content-type": "multipart/form-data; boundary=b"}
        form = (data + "--b--\r\n").encode()
        status, body, _ = await one.ask("POST", "/v1/files", headers=headers, data=form)
        assert (status, body["error"]["param"]) == (400, param)
        assert "several times" in body["error"]["message"]
    assert await count(storage, FileRow) == 0


async def test_a_form_without_a_file_is_refused(one):
    status, body, _ = await one.ask("POST", "/v1/files", form={"purpose": "batch"}, files={})
    assert status == 400
    assert body["error"]["param"] in {"file", None}


async def test_a_form_is_one_in_any_case_of_its_type(one):
    data = (
        b'--B\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\nx\r\n'
        b'--B\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--B--\r\n'
    )
    headers = {"content-type": "Multipart/Form-Data; Boundary=B"}
    status, body, _ = await one.ask("POST", "/v1/files", headers=headers, data=data)
    assert (status, body["filename"]) == (200, "a")


async def test_a_body_that_is_no_form_is_refused(one):
    bad = [
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=b", b"no boundary"),
        ("multipart/form-data; boundary=b", b"--b\r\nnothing: here\r\n\r\nx\r\n--b--\r\n"),
        ("multipart/form-data; boundary=b",
         b'--b\r\ncontent-disposition: form-data; name="file"; filename="x"\r\n\r\ncut'),
        ("multipart/form-data; boundary=b",
         b'--b\r\ncontent-disposition: form-data; name="purpose"\r\n\r\n\xff\r\n--b--\r\n'),
    ]  # fmt: skip
    for content_type, data in bad:
        headers = {"content-type": content_type}
        status, body, _ = await one.ask("POST", "/v1/files", headers=headers, data=data)
        assert status == 400, (content_type, data, body)
    headers = {"content-type": "application/json"}
    status, body, _ = await one.ask("POST", "/v1/files", headers=headers, data=b"{}")
    assert (status, body["error"]["code"]) == (415, "unsupported_content_type")


async def test_a_name_with_a_nul_is_refused(one):
    data = (
        b'--b\r\ncontent-disposition: form-data; name="file"; filename="a\0b"\r\n\r\nx\r\n'
        b'--b\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--b--\r\n'
    )
    headers = {"content-type": "multipart/form-data; boundary=b"}
    status, body, _ = await one.ask("POST", "/v1/files", headers=headers, data=data)
    assert (status, body["error"]["param"]) == (400, "file")
    upload = {"filename": "a\0b", "purpose": "batch", "bytes": 1, "mime_type": "text/plain"}
    status, body, _ = await one.ask("POST", "/v1/uploads", json=upload)
    assert (status, body["error"]["param"]) == (400, "filename")


async def test_a_bad_page_is_refused_in_words_of_the_api(one):
    status, body, _ = await one.ask("GET", "/v1/files?after=zzz")
    assert (status, body["error"]["param"]) == (400, "after")
    status, body, _ = await one.ask("GET", "/v1/files?limit=many")
    assert (status, body["error"]["message"]) == (
        400, "Invalid type for 'limit': expected an integer, but got a string instead.",
    )  # fmt: skip


async def test_a_file_over_the_limit_is_413(one, storage):
    status, body = await one.upload(b"x" * (3 * 2**20))
    assert (status, body["error"]["code"]) == (413, "request_too_large")
    assert await count(storage, FileRow) == 0


async def test_a_file_is_gone_when_it_expires_and_its_bytes_when_swept(one, storage):
    _, file = await one.upload(
        **{"expires_after[anchor]": "created_at", "expires_after[seconds]": "3600"}
    )
    assert file["expires_at"] == file["created_at"] + 3600
    async with storage.database.writing() as session:
        (await session.get_one(FileRow, file["id"])).expires_at = file["created_at"] - 1
    assert (await one.ask("GET", f"/v1/files/{file['id']}"))[0] == 404
    assert (await one.ask("GET", "/v1/files"))[1]["data"] == []
    assert await sweep_files(storage) == 1
    assert not (storage.blobs.folder / blob_key(file["id"])).exists()


async def test_what_a_killed_upload_left_is_swept_after_a_day(one, storage):
    _, file = await one.upload()
    _, young = await one.upload()
    async with storage.database.writing() as session:
        for file_id, age_s in ((file["id"], 90_000), (young["id"], 10)):
            row = await session.get_one(FileRow, file_id)
            row.status = "uploading"
            row.touched_at -= age_s
    assert await sweep_files(storage) == 1
    assert not (storage.blobs.folder / blob_key(file["id"])).exists()
    assert (storage.blobs.folder / blob_key(young["id"])).exists()


async def test_without_storage_a_route_of_files_is_a_typed_503(state):
    state.storage = None
    status, body, headers = await Client(create_app(state), KEYS[0]).ask("GET", "/v1/files")
    assert (status, body["error"]["code"]) == (503, "storage_unavailable")
    assert "retry-after" in headers


async def begin(client, num_bytes=None, **more):
    num_bytes = len(DATA) if num_bytes is None else num_bytes
    body = {"filename": "a.bin", "purpose": "batch", "bytes": num_bytes, "mime_type": "text/plain"}
    return await client.ask("POST", "/v1/uploads", json={**body, **more})


async def add(client, upload, data):
    files = {"data": FileStorage(io.BytesIO(data), filename="blob")}
    return await client.ask("POST", f"/v1/uploads/{upload['id']}/parts", files=files, form={})


async def complete(client, upload, part_ids, **more):
    body = {"part_ids": part_ids, **more}
    return await client.ask("POST", f"/v1/uploads/{upload['id']}/complete", json=body)


async def test_parts_become_a_file_in_the_order_named(one, storage):
    _, upload, _ = await begin(one, expires_after={"anchor": "created_at", "seconds": 3600})
    assert (upload["status"], upload["file"]) == ("pending", None)
    _, late, _ = await add(one, upload, DATA[1000:])
    _, early, _ = await add(one, upload, DATA[:1000])
    assert (late["object"], late["upload_id"]) == ("upload.part", upload["id"])
    md5 = hashlib.md5(DATA).hexdigest().upper()
    status, done, _ = await complete(one, upload, [early["id"], late["id"]], md5=md5)
    assert (status, done["status"]) == (200, "completed")
    assert done["file"]["expires_at"] == done["file"]["created_at"] + 3600
    path = f"/v1/files/{done['file']['id']}/content"
    assert (await one.ask("GET", path))[1] == DATA
    assert not list((storage.blobs.folder / "parts").iterdir())
    for again in (complete(one, upload, []), add(one, upload, b"x")):
        status, body, _ = await again
        assert (status, body["error"]["code"]) == (400, "invalid_upload_status")


async def test_parts_that_do_not_fit_are_refused_and_the_upload_goes_on(one):
    _, upload, _ = await begin(one)
    _, part, _ = await add(one, upload, DATA)
    for part_ids, more, param in (
        ([], {}, "part_ids"),
        ([part["id"], part["id"]], {}, "part_ids"),
        (["part_x"], {}, "part_ids[0]"),
        ([part["id"]], {"md5": "0" * 32}, "md5"),
        ([part["id"]], {"md5": "zz"}, "md5"),
    ):
        status, body, _ = await complete(one, upload, part_ids, **more)
        assert (status, body["error"]["param"]) == (400, param)
    assert (await complete(one, upload, [part["id"]]))[0] == 200


async def test_an_upload_takes_no_more_than_it_can_use(one, monkeypatch):
    _, upload, _ = await begin(one, 4)
    status, body, _ = await add(one, upload, b"xxxxx")
    assert (status, body["error"]["param"]) == (413, "data")
    assert [(await add(one, upload, b"xxxx"))[0] for _ in range(4)] == [200, 200, 200, 400]
    monkeypatch.setattr(uploads, "MAX_NUM_PARTS", 2)
    _, upload, _ = await begin(one, 4)
    assert [(await add(one, upload, b""))[0] for _ in range(3)] == [200, 200, 400]
    assert (await add(one, upload, b""))[1]["error"]["code"] == "too_many_parts"


async def test_a_cancelled_upload_leaves_nothing(one, storage):
    _, upload, _ = await begin(one)
    await add(one, upload, DATA)
    status, body, _ = await one.ask("POST", f"/v1/uploads/{upload['id']}/cancel")
    assert (status, body["status"]) == (200, "cancelled")
    assert not list((storage.blobs.folder / "parts").iterdir())


async def test_an_expired_upload_takes_nothing_more_and_is_swept(one, storage):
    _, upload, _ = await begin(one)
    await add(one, upload, DATA)
    async with storage.database.writing() as session:
        (await session.get_one(UploadRow, upload["id"])).expires_at = 1
    status, body, _ = await add(one, upload, b"x")
    assert (status, body["error"]["message"]) == (400, "The upload is expired.")
    assert await sweep_uploads(storage) == 1
    assert not list((storage.blobs.folder / "parts").iterdir())


async def test_another_key_cannot_touch_an_upload(one, two):
    _, upload, _ = await begin(one)
    assert (await add(two, upload, b"x"))[0] == 404
    assert (await complete(two, upload, []))[0] == 404
    assert (await two.ask("POST", f"/v1/uploads/{upload['id']}/cancel"))[0] == 404


async def test_only_one_of_two_completions_makes_a_file(one):
    _, upload, _ = await begin(one)
    _, part, _ = await add(one, upload, DATA)
    answers = await asyncio.gather(*(complete(one, upload, [part["id"]]) for _ in range(3)))
    assert sorted(status for status, _, _ in answers) == [200, 400, 400]
    assert len((await one.ask("GET", "/v1/files"))[1]["data"]) == 1


async def test_who_reads_parts_that_another_completion_removes_is_told_of_that(
    one, storage, monkeypatch, caplog
):
    _, upload, _ = await begin(one)
    _, part, _ = await add(one, upload, DATA)
    read, has_begun, may_go_on = type(storage.blobs).read, asyncio.Event(), asyncio.Event()

    async def slowly_once(*given, **options):
        if not has_begun.is_set():
            has_begun.set()
            await may_go_on.wait()
        async for piece in read(*given, **options):
            yield piece

    monkeypatch.setattr(type(storage.blobs), "read", slowly_once)
    slow = asyncio.create_task(complete(one, upload, [part["id"]]))
    await has_begun.wait()
    assert (await complete(one, upload, [part["id"]]))[0] == 200
    may_go_on.set()
    status, body, _ = await slow
    assert (status, body["error"]["code"]) == (400, "invalid_upload_status")
    assert len((await one.ask("GET", "/v1/files"))[1]["data"]) == 1
    assert not [each for each in caplog.records if each.levelname == "ERROR"]


async def test_parts_that_are_gone_for_no_reason_are_in_the_log(one, storage, caplog):
    _, upload, _ = await begin(one)
    _, part, _ = await add(one, upload, DATA)
    await storage.blobs.delete(f"parts/{part['id']}")
    status, body, _ = await complete(one, upload, [part["id"]])
    assert (status, body["error"]["code"]) == (503, "storage_unavailable")
    assert f"parts of {upload['id']} cannot be put together" in caplog.text


async def test_an_upload_over_the_limit_is_refused_at_once(one):
    status, body, _ = await begin(one, 2**21)
    assert (status, body["error"]["param"]) == (400, "bytes")


async def unknown_everywhere(app, key):
    """What each route answers to a field that nobody knows."""
    client = Client(app, key)
    fields = {"filename": "a", "purpose": "batch", "bytes": 1, "mime_type": "text/plain"}
    expires = {"anchor": "created_at", "seconds": 3600, "foo": 1}
    upload = (await client.ask("POST", "/v1/uploads", json=fields))[1]["id"]
    files = {"file": FileStorage(io.BytesIO(b"x"), filename="a.jsonl")}
    parts = {"data": FileStorage(io.BytesIO(b"x"), filename="a")}
    part = f"/v1/uploads/{upload}/parts"
    return [
        ("foo", await client.ask("POST", "/v1/uploads", json=fields | {"foo": 1})),
        ("expires_after.foo",
         await client.ask("POST", "/v1/uploads", json=fields | {"expires_after": expires})),
        ("foo", await client.ask("POST", "/v1/files", form={"purpose": "batch", "foo": "1"},
                                 files=files)),
        ("foo", await client.ask("GET", "/v1/files?foo=1")),
        ("foo", await client.ask("POST", part, form={"foo": "1"}, files=parts)),
        ("foo", await client.ask("POST", f"/v1/uploads/{upload}/complete",
                                 json={"part_ids": [], "foo": 1})),
    ]  # fmt: skip


async def test_unknown_fields_of_bodies_forms_and_queries_are_named_in_a_warning(state):
    answers = await unknown_everywhere(create_app(state), KEYS[0])
    for name, (status, _, headers) in answers[:-1]:
        assert (status, headers["warning"]) == (
            200, f'299 servax "Fields unknown or not enforced have no effect: {name}"')  # fmt: skip
    assert "warning" not in answers[-1][1][2], "an upload of another size is refused"


async def test_unknown_fields_of_bodies_forms_and_queries_are_400_with_strict_fields(storage):
    settings = ServerSettings(api_keys=KEYS, strict_fields=True)
    strict = make_state(settings, "m")
    strict.take_storage(storage)
    for name, (status, body, _) in await unknown_everywhere(create_app(strict), KEYS[0]):
        error = body["error"]
        assert (status, error["param"], error["code"]) == (400, name, "unknown_parameter")
