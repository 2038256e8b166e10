"""The header of a safetensors file, believed only after every number in it was checked.

A file is `8 bytes length n | n bytes of JSON | data`; the JSON maps a name to
`{dtype, shape, data_offsets: [begin, end)}`, offsets counted from the start of the data. The
format (https://huggingface.co/docs/safetensors) demands that the ranges fill the data exactly,
without holes or overlaps. Nothing is allocated or mapped by a size the file merely declares.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
from pathlib import Path
from typing import Any

from engine.errors import ModelFormatError
from engine.weights.dtypes import SAFETENSORS_ITEM_BYTES

LENGTH_BYTES = 8
MAX_HEADER_BYTES = 100 * 10**6
"""The format's own limit."""
MAX_DIMENSIONS = 8


@dataclasses.dataclass(frozen=True)
class TensorEntry:
    """Where one tensor lies: bytes `[begin, end)` of `file`."""

    file: Path
    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclasses.dataclass(frozen=True)
class Header:
    """A checked header.

    Attributes:
        digest: SHA-256 of the header's bytes.
    """

    tensors: dict[str, TensorEntry]
    digest: str


def read_header(file: Path, shown_as: Path) -> Header:
    """Read and check the header of one safetensors file.

    Args:
        file: the real file.
        shown_as: its path as the operator knows it, for messages.

    Raises:
        ModelFormatError: naming the file and what is wrong with it.
    """
    try:
        size = os.stat(file).st_size
        with open(file, "rb") as stream:
            length = int.from_bytes(_exactly(stream.read(LENGTH_BYTES), LENGTH_BYTES), "little")
            if length > min(size - LENGTH_BYTES, MAX_HEADER_BYTES):
                raise _Defect(f"its header claims {length} bytes, the file has {size}")
            text = _exactly(stream.read(length), length)
        data_begin = LENGTH_BYTES + length
        tensors = _tensors(file, _header_object(text), data_begin)
        _check_layout(tensors, data_begin, size)
    except _Defect as defect:
        raise ModelFormatError(f"{shown_as}: {defect}.") from None
    except OSError as error:
        raise ModelFormatError(f"{shown_as}: it cannot be read ({error.strerror}).") from None
    return Header({entry.name: entry for entry in tensors}, hashlib.sha256(text).hexdigest())


class _Defect(Exception):
    """What is wrong, without the file's name."""


def _exactly(data: bytes, num_bytes: int) -> bytes:
    if len(data) != num_bytes:
        raise _Defect("the file is truncated")
    return data


def _header_object(text: bytes) -> dict[str, Any]:
    try:
        header = json.loads(text.decode("utf-8"), object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError):
        raise _Defect("its header is not valid JSON") from None
    if not isinstance(header, dict):
        raise _Defect("its header is not a JSON object")
    header.pop("__metadata__", None)
    return header


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise _Defect("its header names a tensor twice")
    return table


def _tensors(file: Path, header: dict[str, Any], data_begin: int) -> list[TensorEntry]:
    return [_tensor(file, name, record, data_begin) for name, record in header.items()]


def _tensor(file: Path, name: str, record: Any, data_begin: int) -> TensorEntry:
    if not isinstance(record, dict):
        raise _Defect(f"the record of {name!r} is not a JSON object")
    dtype = record.get("dtype")
    if not isinstance(dtype, str) or dtype not in SAFETENSORS_ITEM_BYTES:
        raise _Defect(f"{name!r} has the unknown dtype {dtype!r}")
    shape = _sizes(name, "shape", record.get("shape"))
    offsets = _sizes(name, "data_offsets", record.get("data_offsets"))
    if len(shape) > MAX_DIMENSIONS or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise _Defect(f"{name!r} has an impossible shape or data_offsets")
    begin, end = offsets
    if math.prod(shape) * SAFETENSORS_ITEM_BYTES[dtype] != end - begin:
        raise _Defect(
            f"{name!r} of shape {list(shape)} and dtype {dtype} is not {end - begin} bytes"
        )
    return TensorEntry(file, name, dtype, shape, data_begin + begin, data_begin + end)


def _sizes(name: str, field: str, value: Any) -> tuple[int, ...]:
    is_list = isinstance(value, list)
    if not is_list or not all(type(item) is int and 0 <= item < 2**63 for item in value):
        raise _Defect(f"{name!r} has an impossible {field}")
    return tuple(value)


def _check_layout(tensors: list[TensorEntry], data_begin: int, size: int) -> None:
    """Ranges must be `[data_begin, size)` cut into pieces: no overlap, no hole, no excess."""
    position = data_begin
    for entry in sorted(tensors, key=lambda entry: (entry.begin, entry.end)):
        if entry.end > size:
            raise _Defect(
                f"the file is truncated: {entry.name!r} ends at byte {entry.end} of {size}"
            )
        if entry.begin < position:
            raise _Defect(f"{entry.name!r} overlaps another tensor")
        if entry.begin > position:
            raise _Defect(f"there is a hole before {entry.name!r}")
        position = entry.end
    if position != size:
        raise _Defect(f"{size - position} bytes follow the last tensor")
