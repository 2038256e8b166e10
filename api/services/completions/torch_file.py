"""A dense tensor out of a file of `torch.save`, without torch and without running anything.

Such a file is a zip of stored entries: the numbers, and a program of pickle opcodes that would
rebuild the tensor. Nothing interprets that program here. Its opcodes are listed (`pickletools` does
no more) and must be, one by one, those that PyTorch writes for one dense tensor:

    _rebuild_tensor_v2(storage(kind, "0", device, length), offset, size, stride, grad, {})

Anything else is refused: other entries, compression, other opcodes, views that are not contiguous.
"""

from __future__ import annotations

import dataclasses
import io
import pickletools
import re
import struct
import zipfile
from typing import Any

STORAGES = {
    "torch FloatStorage": ("float32", 4),
    "torch HalfStorage": ("float16", 2),
    "torch BFloat16Storage": ("bfloat16", 2),
}
"""Kinds of numbers, with their dtype and bytes."""

MAX_ENTRIES = 16
MAX_PROGRAM_BYTES = 4096
MAX_DIMENSIONS = 3

_ENTRY = re.compile(
    r"[^/\\]{1,256}/(data\.pkl|data/0|version|byteorder|\.format_version|\.storage_alignment"
    r"|\.data/serialization_id)"
)
_DAMAGES = (
    zipfile.BadZipFile, OSError, RuntimeError, EOFError, OverflowError, UnicodeError, struct.error,
)  # fmt: skip
"""What zipfile raises of files that are none."""
_MEMO = frozenset({"BINPUT", "LONG_BINPUT"})
_INTEGERS = frozenset({"BININT1", "BININT2", "BININT"})
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_DEVICE = re.compile(r"cpu|cuda:[0-9]{1,3}")


@dataclasses.dataclass(frozen=True, slots=True)
class TensorFile:
    """A tensor whose header was read.

    Attributes:
        dtype: float32 | float16 | bfloat16, little-endian.
        shape: 1 to 3 sizes, each at least 1.
        start, end: where its bytes lie in the storage.
    """

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int
    _archive: zipfile.ZipFile
    _storage: zipfile.ZipInfo

    def read(self) -> bytes:
        """The numbers, row after row.

        Raises:
            ValueError: the entry is damaged.
        """
        return _read(self._archive, self._storage)[self.start : self.end]


def open_tensor(file: bytes) -> TensorFile:
    """Read what a file says its tensor is; the numbers are left where they are.

    Raises:
        ValueError: it is no such file, or anything in it is not as `torch.save` writes one dense
            tensor; the message says what.
    """
    try:
        archive = zipfile.ZipFile(io.BytesIO(file))
    except _DAMAGES:
        raise ValueError("it is no zip as torch.save writes it") from None
    entries = _entries(archive)
    if "byteorder" in entries and _read(archive, entries["byteorder"]) != b"little":
        raise ValueError("its numbers are not little-endian")
    header = _Program(_read(archive, entries["data.pkl"])).read()
    dtype, item_bytes = STORAGES[header.storage]
    storage = entries["data/0"]
    num_items = 1
    for size in header.shape:
        num_items *= size
    if header.stride != _contiguous(header.shape):
        raise ValueError("it is not contiguous; save tensor.contiguous().clone()")
    if storage.file_size != header.length * item_bytes or header.offset + num_items > header.length:
        raise ValueError("its shape is not that of its numbers")
    start = header.offset * item_bytes
    end = start + num_items * item_bytes
    return TensorFile(dtype, header.shape, start, end, archive, storage)


def _read(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    """Of a stored entry, which is no larger than the file."""
    try:
        return archive.read(entry)
    except _DAMAGES:
        raise ValueError("it is damaged") from None


def _entries(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Entries by what they are, all stored as they are and no larger than the file."""
    infos = archive.infolist()
    if len(infos) > MAX_ENTRIES:
        raise ValueError("it has too many entries")
    entries: dict[str, zipfile.ZipInfo] = {}
    for info in infos:
        match = _ENTRY.fullmatch(info.filename)
        if match is None or match[1] in entries or info.flag_bits & 0x1:
            raise ValueError("it has an entry that is no part of one dense tensor")
        if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
            raise ValueError("it is compressed")
        entries[match[1]] = info
    if not {"data.pkl", "data/0"} <= set(entries):
        raise ValueError("it holds no dense tensor")
    if entries["data.pkl"].file_size > MAX_PROGRAM_BYTES:
        raise ValueError("it holds more than one dense tensor")
    return entries


def _contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    strides: list[int] = []
    step = 1
    for size in reversed(shape):
        strides.insert(0, step)
        step *= size
    return tuple(strides)


@dataclasses.dataclass(frozen=True, slots=True)
class _Header:
    storage: str
    length: int
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


class _Program:
    """The opcodes of a pickle, taken one after another and never carried out."""

    def __init__(self, program: bytes) -> None:
        try:
            found = [(code.name, argument) for code, argument, _ in pickletools.genops(program)]
        except (ValueError, IndexError, UnicodeError, OverflowError):
            raise ValueError("its header cannot be read") from None
        self._codes: list[tuple[str, Any]] = [code for code in found if code[0] not in _MEMO]
        self._codes.reverse()

    def read(self) -> _Header:
        """The header of one dense tensor."""
        self._expect("PROTO", 2)
        self._expect("GLOBAL", "torch._utils _rebuild_tensor_v2")
        self._expect("MARK")
        storage, length = self._storage()
        offset = self._integer()
        shape, stride = self._sizes(), self._sizes()
        self._expect_one_of("NEWFALSE", "NEWTRUE")
        self._expect("GLOBAL", "collections OrderedDict")
        for name in ("EMPTY_TUPLE", "REDUCE", "TUPLE", "REDUCE", "STOP"):
            self._expect(name)
        if self._codes or min(shape) < 1:
            raise _unexpected()
        return _Header(storage, length, offset, shape, stride)

    def _storage(self) -> tuple[str, int]:
        self._expect("MARK")
        self._expect("BINUNICODE", "storage")
        name, storage = self._next()
        if name != "GLOBAL" or storage not in STORAGES:
            raise ValueError(f"its dtype is none of {', '.join(d for d, _ in STORAGES.values())}")
        self._expect("BINUNICODE", "0")
        name, device = self._next()
        if name != "BINUNICODE" or not _DEVICE.fullmatch(str(device)):
            raise _unexpected()
        length = self._integer()
        self._expect("TUPLE")
        self._expect("BINPERSID")
        return str(storage), length

    def _sizes(self) -> tuple[int, ...]:
        sizes: list[int] = []
        while self._codes and self._codes[-1][0] in _INTEGERS and len(sizes) < MAX_DIMENSIONS:
            sizes.append(self._integer())
        name, _ = self._next()
        if _TUPLES.get(name) != len(sizes):
            raise ValueError("it has not two dimensions")
        return tuple(sizes)

    def _integer(self) -> int:
        name, value = self._next()
        if name not in _INTEGERS or not isinstance(value, int) or value < 0:
            raise _unexpected()
        return value

    def _expect(self, name: str, argument: Any = None) -> None:
        if self._next() != (name, argument):
            raise _unexpected()

    def _expect_one_of(self, *names: str) -> None:
        if self._next()[0] not in names:
            raise _unexpected()

    def _next(self) -> tuple[str, Any]:
        if not self._codes:
            raise _unexpected()
        return self._codes.pop()


def _unexpected() -> ValueError:
    return ValueError("it is something else than one dense tensor")
