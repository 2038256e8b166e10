"""Traces of the engine's process and its device, by `jax.profiler`.

A trace is a folder that TensorBoard, XProf and Perfetto open. vLLM names the folder after torch;
the name is kept so that its command lines work.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from engine.errors import ConflictError, SetupError

FOLDER_KEYS = ("dir", "torch_profiler_dir")


class TraceProfiler:
    """Implements `engine.core_protocol.Profiler`: one trace at a time, into `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._is_active = False

    def start(self) -> None:
        """See `engine.core_protocol.Profiler`."""
        if self._is_active:
            raise ConflictError("A profile is being taken already.", code="profiler_active")
        jax.profiler.start_trace(str(self._folder))
        self._is_active = True

    def stop(self) -> None:
        """See `engine.core_protocol.Profiler`."""
        if not self._is_active:
            raise ConflictError("No profile is being taken.", code="profiler_not_active")
        self._is_active = False
        jax.profiler.stop_trace()


def make_profiler(config: Mapping[str, Any]) -> TraceProfiler | None:
    """The profiler of `--profiler-config`; None when it names no folder.

    Raises:
        SetupError: what it names cannot be a folder.
    """
    chosen = next((config[key] for key in FOLDER_KEYS if config.get(key)), None)
    if chosen is None:
        return None
    if not isinstance(chosen, str):
        raise SetupError(f"--profiler-config: {chosen!r} is not the path of a folder.")
    folder = Path(chosen).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SetupError(f"--profiler-config {chosen}: {error.strerror}.") from None
    return TraceProfiler(folder)
