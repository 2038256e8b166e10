"""An engine never outlives the process that started it, however that one ends."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from typing import BinaryIO

PR_SET_PDEATHSIG = 1
EXIT_ORPHANED = 3


def die_with_parent(parent_process_id: int, lifeline: BinaryIO) -> None:
    """End this process when its parent does: by the kernel on Linux, by the end of a pipe anywhere.

    Args:
        lifeline: a pipe whose other end only the parent holds, never written to again.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_process_id:
        os._exit(EXIT_ORPHANED)
    threading.Thread(target=_watch, args=(lifeline,), name="lifeline", daemon=True).start()


def _watch(lifeline: BinaryIO) -> None:
    # Read below Python's buffers: a thread blocked in them would hold a lock that exit needs.
    while os.read(lifeline.fileno(), 1024):
        pass
    os._exit(EXIT_ORPHANED)
