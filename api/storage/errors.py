"""What can go wrong below the queries, as answers that say nothing of the inside.

    StorageError            503, also for what nobody foresaw
    ├── StorageBusyError    another writer holds the database; try again
    ├── StorageFullError    no room on the disk
    └── ReadOnlyError       the database or its disk takes no writes

Generation without storage never sees any of them.
"""

from __future__ import annotations

import errno

from obstore.exceptions import BaseError as BlobError
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from api.errors import APIError, retry_headers


class StorageError(APIError):
    """The storage cannot do it now."""

    sentence = "The server's storage is not available now."
    code_name = "storage_unavailable"
    retry_after_s = 5.0

    def __init__(self) -> None:
        super().__init__(
            self.sentence,
            status=503,
            code=self.code_name,
            headers=retry_headers(self.retry_after_s),
        )


class StorageBusyError(StorageError):
    """Somebody else writes."""

    sentence = "The server's storage is busy; try again shortly."
    code_name = "storage_busy"
    retry_after_s = 1.0


class StorageFullError(StorageError):
    """There is no room."""

    sentence = "The server's storage is full."
    code_name = "storage_full"
    retry_after_s = 60.0


class ReadOnlyError(StorageError):
    """Nothing can be written."""

    sentence = "The server's storage cannot be written to."
    code_name = "storage_read_only"
    retry_after_s = 60.0


FAULTS = (DBAPIError, PoolTimeoutError, OSError, BlobError)
"""Exceptions that mean storage, not a mistake in a query; `IntegrityError` is the caller's."""

_WORDS: tuple[tuple[str, type[StorageError]], ...] = (
    ("database is locked", StorageBusyError),
    ("could not obtain lock", StorageBusyError),
    ("disk is full", StorageFullError),
    ("no space left", StorageFullError),
    ("disk quota", StorageFullError),
    ("disk full", StorageFullError),
    ("readonly database", ReadOnlyError),
    ("read-only", ReadOnlyError),
    ("permission denied", ReadOnlyError),
)

_NUMBERS = {
    errno.ENOSPC: StorageFullError,
    errno.EDQUOT: StorageFullError,
    errno.EROFS: ReadOnlyError,
    errno.EACCES: ReadOnlyError,
}


def first_paragraph(fault: BaseException) -> str:
    """What an exception says, in one line: obstore's go on with the insides of its client."""
    return " ".join(str(fault).partition("\n\n")[0].split())


def from_fault(fault: BaseException) -> StorageError:
    """What a client is told of a driver's, a disk's or a blob store's exception."""
    if isinstance(fault, OSError) and fault.errno in _NUMBERS:
        return _NUMBERS[fault.errno]()
    text = str(fault).lower()
    return next((kind() for words, kind in _WORDS if words in text), StorageError())
