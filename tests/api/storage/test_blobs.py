from __future__ import annotations

import pytest

from api.storage.blobs import PART_BYTES, local_blobs, verify_blob_url
from api.storage.errors import StorageError
from engine.errors import SetupError


async def parts(*pieces, fault=None):
    for piece in pieces:
        yield piece
    if fault is not None:
        raise fault


async def read(blobs, key, start, end):
    return b"".join([piece async for piece in blobs.read(key, start, end)])


async def test_a_blob_comes_back_whole_and_in_ranges(storage):
    data = bytes(range(256)) * (PART_BYTES // 100)
    pieces = [data[start : start + 1_000_003] for start in range(0, len(data), 1_000_003)]
    assert await storage.blobs.write("files/a", parts(*pieces)) == len(data)
    assert await read(storage.blobs, "files/a", 0, len(data)) == data
    assert await read(storage.blobs, "files/a", 999_999, 1_000_010) == data[999_999:1_000_010]


async def test_an_empty_blob_is_one(storage):
    assert await storage.blobs.write("files/a", parts()) == 0
    assert await read(storage.blobs, "files/a", 0, 0) == b""
    assert (storage.blobs.folder / "files" / "a").exists()


async def test_a_write_that_fails_leaves_nothing_and_raises_what_failed(storage):
    with pytest.raises(KeyError, match="mine"):
        await storage.blobs.write("files/a", parts(b"x" * 2 * PART_BYTES, fault=KeyError("mine")))
    assert [path for path in storage.blobs.folder.rglob("*") if path.is_file()] == []
    with pytest.raises(StorageError):
        await read(storage.blobs, "files/a", 0, 1)


async def test_delete_takes_what_a_killed_write_left_too(storage):
    await storage.blobs.write("files/a", parts(b"x"))
    (storage.blobs.folder / "files" / "a#1").write_bytes(b"part")
    await storage.blobs.write("files/ab", parts(b"y"))
    await storage.blobs.delete("files/a")
    await storage.blobs.delete("files/a")
    assert [path.name for path in (storage.blobs.folder / "files").iterdir()] == ["ab"]


async def test_a_folder_that_takes_no_writes_is_a_typed_error(tmp_path):
    blobs = local_blobs(tmp_path)
    (tmp_path / "files").write_bytes(b"not a folder")
    with pytest.raises(StorageError):
        await blobs.write("files/a", parts(b"x"))


@pytest.mark.parametrize("url", ["nonsense", "ftp://a/b", "file://relative", "memory:///"])
def test_a_blob_url_that_cannot_be_ours_is_a_set_up_error(url):
    with pytest.raises(SetupError, match="--blob-url"):
        verify_blob_url(url)


@pytest.mark.parametrize("url", ["s3://bucket/prefix", "gs://bucket", "file:///srv/blobs"])
def test_blob_urls_of_clouds_are_known(url, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    verify_blob_url(url)
