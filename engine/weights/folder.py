"""Reading files of a model folder, and never one outside it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from engine.errors import ModelFormatError

MAX_JSON_BYTES = 64 * 2**20


@dataclasses.dataclass(frozen=True)
class ModelFolder:
    """A Hugging Face folder. Every file is reached through `file`, which follows no link out.

    Attributes:
        path: as the operator named it.
    """

    path: Path

    def file(self, name: str) -> Path:
        """The real path of a file of the folder.

        A snapshot of the hub's cache is a folder of links into `../../blobs`: those are allowed.

        Raises:
            ModelFormatError: missing, not a regular file, or outside the folder.
        """
        path = self.path / name
        try:
            real = path.resolve(strict=True)
        except (OSError, ValueError, RuntimeError):
            raise ModelFormatError(f"{path}: the file is missing.") from None
        if not any(real.is_relative_to(root) for root in self._allowed_roots()):
            raise ModelFormatError(f"{path}: the file lies outside the model folder.")
        if not real.is_file():
            raise ModelFormatError(f"{path}: this is not a regular file.")
        return real

    def _allowed_roots(self) -> list[Path]:
        folder = self.path.resolve()
        roots = [folder]
        if folder.parent.name == "snapshots":
            roots.append(folder.parent.parent / "blobs")
        return roots

    def has(self, name: str) -> bool:
        """Whether the folder lists this name (it may still be refused by `file`)."""
        return (self.path / name).exists() or (self.path / name).is_symlink()

    def names(self, suffix: str) -> list[str]:
        """Names directly in the folder that end in `suffix`, sorted."""
        return sorted(entry.name for entry in self.path.iterdir() if entry.name.endswith(suffix))

    def json_object(self, name: str) -> dict[str, Any]:
        """A JSON file whose top value is an object.

        Raises:
            ModelFormatError: missing, too large, or not a JSON object.
        """
        file = self.file(name)
        if file.stat().st_size > MAX_JSON_BYTES:
            raise ModelFormatError(f"{self.path / name}: larger than {MAX_JSON_BYTES} bytes.")
        try:
            value = json.loads(file.read_bytes())
        except (ValueError, RecursionError):
            raise ModelFormatError(f"{self.path / name}: this is not valid JSON.") from None
        if not isinstance(value, dict):
            raise ModelFormatError(f"{self.path / name}: the top value is not a JSON object.")
        return value

    def optional_json_object(self, name: str) -> dict[str, Any]:
        """As `json_object`; an empty object when the folder has no such file."""
        return self.json_object(name) if self.has(name) else {}
