"""R7: a damaged or hostile model folder is refused in one line that names the file, at once."""

from __future__ import annotations

import json
import struct
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.errors import ModelFormatError
from engine.weights.checkpoint import open_checkpoint
from engine.weights.folder import ModelFolder
from engine.weights.loader import verify_weights

MAX_SECONDS = 2.0
MAX_BYTES = 32 * 2**20


def rewrite(file: Path, change: Callable[[dict], None]) -> None:
    """Change a weight file's header, leaving its data."""
    data = file.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    change(header)
    text = json.dumps(header).encode()
    file.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])


def truncate_data(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


def truncate_header(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:50])


def empty(file: Path) -> None:
    file.write_bytes(b"")


def huge_header_length(file: Path) -> None:
    data = file.read_bytes()
    file.write_bytes(struct.pack("<Q", 2**63) + data[8:])


def header_past_the_end(file: Path) -> None:
    data = file.read_bytes()
    file.write_bytes(struct.pack("<Q", len(data)) + data[8:])


def header_not_json(file: Path) -> None:
    file.write_bytes(struct.pack("<Q", 8) + b"notjson!" + b"\0" * 64)


def header_a_list(file: Path) -> None:
    file.write_bytes(struct.pack("<Q", 2) + b"[]")


def header_deeply_nested(file: Path) -> None:
    text = b"[" * 200_000
    file.write_bytes(struct.pack("<Q", len(text)) + text)


def header_not_utf8(file: Path) -> None:
    file.write_bytes(struct.pack("<Q", 4) + b"\xff\xfe\xfd\xfc")


def trailing_bytes(file: Path) -> None:
    file.write_bytes(file.read_bytes() + b"\0" * 64)


def a_pickle(file: Path) -> None:
    file.write_bytes(b"\x80\x04\x95" + b"\0" * 200)


def _record(header: dict) -> dict:
    return header["model.layers.0.mlp.down_proj.weight"]


def overlapping(header: dict) -> None:
    names = sorted(
        (name for name in header if name != "__metadata__"),
        key=lambda name: header[name]["data_offsets"],
    )
    same_size = [name for name in names if header[name]["shape"] == [96, 32]]
    header[same_size[1]]["data_offsets"] = header[same_size[0]]["data_offsets"]


def out_of_range(header: dict) -> None:
    begin, end = _record(header)["data_offsets"]
    _record(header)["data_offsets"] = [begin + 2**40, end + 2**40]


def negative_offset(header: dict) -> None:
    _record(header)["data_offsets"] = [-8, 3064]


def reversed_offsets(header: dict) -> None:
    _record(header)["data_offsets"].reverse()


def offsets_not_integers(header: dict) -> None:
    _record(header)["data_offsets"] = [0.5, "x"]


def size_and_shape_disagree(header: dict) -> None:
    _record(header)["shape"] = [32, 49]


def shape_overflows(header: dict) -> None:
    _record(header)["shape"] = [2**62, 2**62]


def boolean_shape(header: dict) -> None:
    _record(header)["shape"] = [True, 1536]


def shape_of_many_axes(header: dict) -> None:
    _record(header)["shape"] = [32, 48] + [1] * 100


def unknown_dtype(header: dict) -> None:
    _record(header)["dtype"] = "F128"


def integer_dtype(header: dict) -> None:
    _record(header)["dtype"] = "I16"


def wrong_shape(header: dict) -> None:
    _record(header)["shape"] = [48, 32]


def scalar_shape(header: dict) -> None:
    header["model.norm.weight"] |= {"shape": [], "dtype": "F32"}


def missing_tensor(header: dict) -> None:
    header["renamed"] = header.pop("model.layers.0.mlp.down_proj.weight")


def record_not_an_object(header: dict) -> None:
    header["model.norm.weight"] = 7


FILE_DAMAGE = [
    truncate_data,
    truncate_header,
    empty,
    huge_header_length,
    header_past_the_end,
    header_not_json,
    header_a_list,
    header_deeply_nested,
    header_not_utf8,
    trailing_bytes,
    a_pickle,
]
HEADER_DAMAGE = [
    overlapping,
    out_of_range,
    negative_offset,
    reversed_offsets,
    offsets_not_integers,
    size_and_shape_disagree,
    shape_overflows,
    boolean_shape,
    shape_of_many_axes,
    unknown_dtype,
    integer_dtype,
    wrong_shape,
    scalar_shape,
    missing_tensor,
    record_not_an_object,
]


def refusal(folder: Path, rules) -> str:
    """Open the folder as the engine does; its refusal, which must be quick and small."""
    started = time.process_time()
    tracemalloc.start()
    with pytest.raises(ModelFormatError) as caught:
        verify_weights(open_checkpoint(ModelFolder(folder)), rules)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert time.process_time() - started < MAX_SECONDS
    assert peak_bytes < MAX_BYTES
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("damage", FILE_DAMAGE, ids=lambda damage: damage.__name__)
def test_a_damaged_file_is_refused_by_name(folder: Path, rules, damage) -> None:
    damage(folder / "model.safetensors")
    assert str(folder / "model.safetensors") in refusal(folder, rules)


@pytest.mark.parametrize("damage", HEADER_DAMAGE, ids=lambda damage: damage.__name__)
def test_a_lying_header_is_refused_by_name(folder: Path, rules, damage) -> None:
    rewrite(folder / "model.safetensors", damage)
    assert str(folder) in refusal(folder, rules)


def test_a_tensor_named_twice_in_a_header_is_refused(folder: Path, rules) -> None:
    file = folder / "model.safetensors"
    data = file.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = data[8 : 8 + length].strip()
    twice = header[:-1] + b', "model.norm.weight": ' + b"{}" + b"}"
    file.write_bytes(struct.pack("<Q", len(twice)) + twice + data[8 + length :])
    assert "twice" in refusal(folder, rules)


def test_a_missing_shard_is_refused_by_name(shard, rules) -> None:
    folder = shard()
    (folder / "model-00002-of-00002.safetensors").unlink()
    assert "model-00002-of-00002.safetensors" in refusal(folder, rules)


def test_a_tensor_the_index_puts_in_the_wrong_file_is_refused(shard, rules) -> None:
    folder = shard()
    index = folder / "model.safetensors.index.json"
    weight_map = json.loads(index.read_text())["weight_map"]
    weight_map["lm_head.weight"] = "model-00002-of-00002.safetensors"
    index.write_text(json.dumps({"weight_map": weight_map}))
    assert "model-00002-of-00002.safetensors" in refusal(folder, rules)


@pytest.mark.parametrize("name", ["../outside.safetensors", "/etc/passwd", "a/b.safetensors", 7])
def test_an_index_that_points_out_of_the_folder_is_refused(shard, rules, name) -> None:
    folder = shard()
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"lm_head.weight": name}}))
    assert str(index) in refusal(folder, rules)


def test_a_link_out_of_the_folder_is_refused(folder: Path, rules, tmp_path: Path) -> None:
    file = folder / "model.safetensors"
    file.rename(tmp_path / "elsewhere.safetensors")
    file.symlink_to(tmp_path / "elsewhere.safetensors")
    assert "outside the model folder" in refusal(folder, rules)


def test_a_link_to_itself_is_refused(folder: Path, rules) -> None:
    file = folder / "model.safetensors"
    file.unlink()
    file.symlink_to(file)
    assert str(file) in refusal(folder, rules)


def test_a_folder_in_place_of_the_file_is_refused(folder: Path, rules) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").mkdir()
    assert "not a regular file" in refusal(folder, rules)


def test_links_into_the_blobs_of_a_hub_cache_are_followed(folder: Path, tmp_path: Path) -> None:
    snapshot = tmp_path / "models--a--b" / "snapshots" / "abc"
    blobs = tmp_path / "models--a--b" / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for index, file in enumerate(sorted(folder.iterdir())):
        file.rename(blobs / str(index))
        (snapshot / file.name).symlink_to(Path("../../blobs") / str(index))
    assert "lm_head.weight" in open_checkpoint(ModelFolder(snapshot)).entries


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.gguf"])
def test_weights_that_are_not_safetensors_are_refused(folder: Path, rules, name: str) -> None:
    (folder / "model.safetensors").rename(folder / name)
    message = refusal(folder, rules)
    assert name in message
    assert "safetensors" in message


def test_a_folder_without_weights_is_refused(folder: Path, rules) -> None:
    (folder / "model.safetensors").unlink()
    assert "model.safetensors: the file is missing" in refusal(folder, rules)
