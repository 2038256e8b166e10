"""Folders that only one process uses, and that its successors remove when it could not.

A folder belongs to whoever holds the lock on it. The kernel releases locks of processes that end,
however they end, so a folder whose lock can be had is left over from one that was killed.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pathlib
import shutil
import tempfile
from collections.abc import Generator

PREFIX = "servax-engine-"


class PrivateFolder:
    """A new folder (mode 0700) under the system's temporary one; stale ones are removed first.

    Attributes:
        path: of the folder.
    """

    def __init__(self) -> None:
        remove_stale()
        while True:
            self.path = tempfile.mkdtemp(prefix=PREFIX)
            self._lock = _lock(self.path, fcntl.LOCK_EX)
            # Before it was locked, somebody else may have taken it for a stale one.
            if os.path.isdir(self.path):
                return
            self.close()

    def close(self) -> None:
        """Remove it with everything in it; may be called twice."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def remove_stale() -> None:
    """Remove this user's folders whose owners have ended. What resists is left alone."""
    for path in pathlib.Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with _unowned(str(path)) as is_stale:
            if is_stale:
                shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def _unowned(path: str) -> Generator[bool]:
    """Hold the lock of a folder of ours that nobody holds; whether there is such a one."""
    lock = _lock(path, fcntl.LOCK_EX | fcntl.LOCK_NB)
    try:
        yield lock is not None and os.fstat(lock).st_uid == os.getuid()
    finally:
        if lock is not None:
            os.close(lock)


def _lock(path: str, operation: int) -> int | None:
    """An open file that holds the lock; None when there is no such folder, it is taken, or the
    file system has no locks (then nobody's folder is ever taken for a stale one)."""
    try:
        # Not inherited by child processes: Python opens files so.
        file = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(file, operation)
    except OSError:
        os.close(file)
        return None
    return file
