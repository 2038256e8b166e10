"""Blobs: bytes too many for a row, under a key, written once and whole.

obstore does the work for a folder, S3, GCS and Azure alike. A blob appears under its key only when
its last byte is there. In a folder it is also synced to the disk before `write` returns, so that a
row committed afterwards never names bytes that a power failure took.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import BaseError as BlobError
from obstore.store import LocalStore, ObjectStore, from_url

from api.storage.database import telling
from api.storage.errors import first_paragraph
from api.storage.folder import make_private
from engine.errors import SetupError

if TYPE_CHECKING:
    from obstore.store import RetryConfig

PART_BYTES = 5 * 2**20
MAX_NUM_PARTS_AT_ONCE = 2
READ_BYTES = 2**20

SCHEMES = ("file", "s3", "gs", "az", "abfs")

PATIENCE: RetryConfig = {"max_retries": 4, "retry_timeout": timedelta(seconds=10)}
"""With a cloud's store: a client waits meanwhile, and asks again when it is told 503."""


class BlobStore:
    """One place for blobs.

    Attributes:
        folder: of a local store; None for others.
    """

    def __init__(self, store: ObjectStore, folder: Path | None) -> None:
        self._store = store
        self.folder = folder

    async def write(self, key: str, parts: AsyncIterable[bytes]) -> int:
        """Store what `parts` gives under `key`; the number of bytes. Memory stays bounded.

        Raises:
            StorageError: it could not be stored; nothing is under `key`.
            Whatever `parts` raises; nothing is under `key`.
        """
        counter = _Counter(parts)
        with telling():
            try:
                await obstore.put_async(
                    self._store,
                    key,
                    counter,
                    chunk_size=PART_BYTES,
                    max_concurrency=MAX_NUM_PARTS_AT_ONCE,
                )
            except BaseException as error:
                # obstore gives the iterable's own exceptions another face.
                raise counter.fault or error from None
            if self.folder is not None:
                await asyncio.to_thread(_sync, self.folder / key)
        return counter.num_bytes

    async def read(
        self, key: str, start: int, end: int, *, may_vanish: bool = False
    ) -> AsyncGenerator[bytes]:
        """Bytes [start, end) in pieces, fetched as they are asked for.

        Arguments:
            may_vanish: that they are gone is no line in the log: the caller finds out why.

        Raises:
            StorageError: they cannot be had.
        """
        foreseen = (FileNotFoundError,) if may_vanish else ()
        for position in range(start, end, READ_BYTES):
            with telling(*foreseen):
                piece = await obstore.get_range_async(
                    self._store, key, start=position, end=min(end, position + READ_BYTES)
                )
            yield bytes(piece)

    async def delete(self, key: str) -> None:
        """Remove the blob and what a killed write left of it; no error if there is none."""
        with telling():
            with contextlib.suppress(FileNotFoundError):
                await obstore.delete_async(self._store, key)
            if self.folder is not None:
                await asyncio.to_thread(_remove_leftovers, self.folder / key)


class _Counter:
    """Counts what passes and remembers what went wrong."""

    def __init__(self, parts: AsyncIterable[bytes]) -> None:
        self._parts = parts
        self.num_bytes = 0
        self.fault: BaseException | None = None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for part in self._parts:
                self.num_bytes += len(part)
                yield part
        except BaseException as fault:
            self.fault = fault
            raise


def open_blobs(blob_url: str, data_folder: Path) -> BlobStore:
    """The store at an operator's URL, or a folder in the data folder.

    Raises:
        SetupError: the URL is not one of a store.
        OSError: the folder cannot be made.
    """
    if not blob_url:
        return local_blobs(data_folder / "blobs")
    verify_blob_url(blob_url)
    if blob_url.startswith("file://"):
        return local_blobs(Path(blob_url.removeprefix("file://")))
    return BlobStore(from_url(blob_url, retry_config=PATIENCE), None)


def verify_blob_url(blob_url: str) -> None:
    """Raise SetupError unless it names a store that can be tried."""
    scheme, separator, rest = blob_url.partition("://")
    if not separator or scheme not in SCHEMES or (scheme == "file" and not rest.startswith("/")):
        known = ", ".join(f"{name}://" for name in SCHEMES)
        raise SetupError(f"--blob-url: not the URL of a store; these begin with {known}.")
    try:
        if scheme != "file":
            from_url(blob_url)
    except (BlobError, ValueError) as error:
        raise SetupError(f"--blob-url: {first_paragraph(error)}.") from None


def local_blobs(folder: Path) -> BlobStore:
    """A store in a folder, which is made."""
    make_private(folder)
    return BlobStore(LocalStore(folder), folder)


def _sync(path: Path) -> None:
    """The file's bytes and its name, on the disk."""
    for target in (path, path.parent):
        descriptor = os.open(target, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _remove_leftovers(path: Path) -> None:
    """object_store writes to `name#1` and renames; a killed process leaves the former behind."""
    for leftover in path.parent.glob(f"{path.name}#*"):
        leftover.unlink(missing_ok=True)
