"""Ahead-of-time compilation, the persistent cache, and the count of compilations nobody planned.

Executables are only ever called as compiled objects, so a step cannot compile by accident: a wrong
shape is an error. Compilations are counted all the same, in every thread, so that eager jax code
that slips into the loop is seen.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import stat
import threading
from collections.abc import Generator
from pathlib import Path
from typing import Any

import jax
from jax.experimental.compilation_cache import compilation_cache

from engine.errors import SetupError

COMPILE_EVENT = "/jax/core/compile/backend_compile_duration"


_planning = threading.local()
"""`is_active` in threads that compile on purpose; shared by all counters of the process."""


class CompilationCounter:
    """Counts XLA compilations of this process outside `planned`, after `start`.

    jax keeps listeners for the life of the process; a counter that was stopped ignores events.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_counting = False
        self._num_unplanned = 0
        jax.monitoring.register_event_duration_secs_listener(self._note)

    @property
    def num_unplanned(self) -> int:
        """Compilations counted so far."""
        return self._num_unplanned

    def start(self) -> None:
        """Count from now on."""
        self._is_counting = True

    def stop(self) -> None:
        """Ignore further events."""
        self._is_counting = False

    @contextlib.contextmanager
    def planned(self) -> Generator[None]:
        """What this thread compiles inside is part of the warm-up. May be nested."""
        was_active = getattr(_planning, "is_active", False)
        _planning.is_active = True
        try:
            yield
        finally:
            _planning.is_active = was_active

    def _note(self, event: str, duration_secs: float, **kwargs: Any) -> None:
        del duration_secs, kwargs
        if event != COMPILE_EVENT or not self._is_counting:
            return
        if getattr(_planning, "is_active", False):
            return
        with self._lock:
            self._num_unplanned += 1


def use_compile_cache(folder: str) -> Path:
    """Keep executables on disk, so that the next start compiles nothing.

    Args:
        folder: "" = a folder under the user's cache directory.

    Returns:
        The folder of this machine's kind and this jax.

    Raises:
        SetupError: the folder cannot be made, or others could plant executables in it.
    """
    base = Path(folder).expanduser() if folder else _default_folder()
    path = base / f"jax-{jax.__version__}-{_machine_digest()}"
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        for one in (path, base):
            _verify_private(one)
    except OSError as error:
        raise SetupError(
            f"--compile-cache-dir {base}: {error.strerror}. Name a folder that can be written."
        ) from None
    jax.config.update("jax_compilation_cache_dir", str(path))
    # jax opens its cache once; an engine before this one may have named another folder.
    compilation_cache.reset_cache()
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    return path


def _default_folder() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(home) / "servax" / "xla"


def _machine_digest() -> str:
    """Executables of one kind of processor may crash on another that shares the folder."""
    facts = [platform.machine(), platform.processor()]
    cpu_info = Path("/proc/cpuinfo")
    if cpu_info.exists():
        lines = cpu_info.read_text(errors="replace").splitlines()
        wanted = ("model name", "flags", "Features")
        facts += sorted({line for line in lines if line.startswith(wanted)})
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:12]


def _verify_private(path: Path) -> None:
    """A cache entry is code: nobody else may write here."""
    status = path.stat()
    if status.st_uid not in (os.getuid(), 0) or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise SetupError(
            f"--compile-cache-dir {path}: other users can write there, and cached executables "
            "are code. Name a folder of your own, or take their write permission away."
        )
