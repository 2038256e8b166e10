"""One or many safetensors files of a folder, seen as one table of tensors."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from engine.errors import ModelFormatError
from engine.weights.dtypes import SAFETENSORS_DTYPES
from engine.weights.folder import ModelFolder
from engine.weights.header import Header, TensorEntry, read_header

WeightArray: TypeAlias = npt.NDArray[Any]

SINGLE_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"


@dataclasses.dataclass(frozen=True)
class WeightFile:
    """What is known of one weight file without reading its data."""

    name: str
    num_bytes: int
    header_digest: str


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """All tensors of a model folder. Opening one reads headers only.

    Attributes:
        entries: by Hugging Face name, as the family's rules have it.
    """

    folder: ModelFolder
    files: tuple[WeightFile, ...]
    entries: dict[str, TensorEntry]

    def entry(self, name: str) -> TensorEntry:
        """Where a tensor lies.

        Raises:
            ModelFormatError: no file has it.
        """
        if name not in self.entries:
            raise ModelFormatError(f"{self.folder.path}: no weight file holds the tensor {name!r}.")
        return self.entries[name]

    def renamed(self, prefixes: Mapping[str, str]) -> Checkpoint:
        """The same with names that begin with a key of `prefixes` beginning with its value."""
        entries: dict[str, TensorEntry] = {}
        for name, entry in self.entries.items():
            old = next((prefix for prefix in prefixes if name.startswith(prefix)), "")
            entries.setdefault(prefixes.get(old, "") + name.removeprefix(old), entry)
        return dataclasses.replace(self, entries=entries)

    def tensor(self, name: str) -> WeightArray:
        """A read-only view of a tensor's bytes in the mapped file, in the file's dtype.

        Raises:
            ModelFormatError: missing, or of a dtype no weight may have.
        """
        entry = self.entry(name)
        dtype = SAFETENSORS_DTYPES.get(entry.dtype)
        if dtype is None:
            wanted = ", ".join(SAFETENSORS_DTYPES)
            raise ModelFormatError(
                f"{entry.file}: {name!r} has dtype {entry.dtype}; supported are {wanted}."
            )
        if entry.begin == entry.end:
            return np.zeros(entry.shape, dtype)
        return np.memmap(entry.file, dtype, mode="r", offset=entry.begin, shape=entry.shape)


def open_checkpoint(folder: ModelFolder) -> Checkpoint:
    """Read and check the headers of all weight files of a folder.

    Raises:
        ModelFormatError: naming the file that is not usable and why.
    """
    names = _file_names(folder)
    headers = {name: read_header(folder.file(name), folder.path / name) for name in names}
    entries: dict[str, TensorEntry] = {}
    for name, header in headers.items():
        for tensor_name in header.tensors.keys() & entries.keys():
            raise ModelFormatError(
                f"{folder.path / name}: {tensor_name!r} is also in another weight file."
            )
        entries |= header.tensors
    if folder.has(INDEX_FILE):
        _check_index(folder, headers)
    return Checkpoint(
        folder,
        tuple(
            WeightFile(name, folder.file(name).stat().st_size, header.digest)
            for name, header in headers.items()
        ),
        entries,
    )


def _file_names(folder: ModelFolder) -> list[str]:
    if folder.has(INDEX_FILE):
        return sorted(set(_weight_map(folder).values()))
    if folder.has(SINGLE_FILE):
        return [SINGLE_FILE]
    others = [name for suffix in (".bin", ".pt", ".pth", ".gguf") for name in folder.names(suffix)]
    if others:
        raise ModelFormatError(
            f"{folder.path / others[0]}: only safetensors weights are read; convert the model."
        )
    raise ModelFormatError(f"{folder.path / SINGLE_FILE}: the file is missing.")


def _weight_map(folder: ModelFolder) -> dict[str, str]:
    weight_map = folder.json_object(INDEX_FILE).get("weight_map")
    shown_as = folder.path / INDEX_FILE
    if not isinstance(weight_map, dict) or not weight_map:
        raise ModelFormatError(f"{shown_as}: it has no weight_map.")
    for file_name in weight_map.values():
        if not isinstance(file_name, str) or not file_name.endswith(".safetensors"):
            raise ModelFormatError(f"{shown_as}: {file_name!r} is not a safetensors file.")
        if "/" in file_name or "\\" in file_name or "\0" in file_name:
            raise ModelFormatError(f"{shown_as}: {file_name!r} is not a plain file name.")
    return weight_map


def _check_index(folder: ModelFolder, headers: dict[str, Header]) -> None:
    for tensor_name, file_name in _weight_map(folder).items():
        if tensor_name not in headers[file_name].tensors:
            raise ModelFormatError(
                f"{folder.path / file_name}: {tensor_name!r} is missing, though "
                f"{INDEX_FILE} says it is here."
            )
