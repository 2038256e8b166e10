from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import jax
import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from engine.weights.checkpoint import open_checkpoint
from engine.weights.folder import ModelFolder
from engine.weights.loader import (
    Placement,
    checkpoint_source,
    dummy_source,
    load_weights,
    verify_weights,
)
from models.weight_rules import WeightRule

QKV = "layers.0.mixer.qkv.weight"
DOWN = "layers.0.mlp.down.weight"
Tensors = dict[str, np.ndarray]


def rule_of(rules: tuple[WeightRule, ...], parameter: str) -> WeightRule:
    return next(rule for rule in rules if rule.parameter == parameter)


def test_tensors_are_read_as_they_were_written(folder: Path, tensors: Tensors) -> None:
    checkpoint = open_checkpoint(ModelFolder(folder))
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(checkpoint.tensor(name), tensor)


def test_tensors_are_found_under_the_prefix_that_some_checkpoints_give_them(
    folder: Path, tensors: Tensors
) -> None:
    checkpoint = open_checkpoint(ModelFolder(folder))
    renamed = checkpoint.renamed({"no.such.": "other.", "model.": "text."})
    for name, tensor in tensors.items():
        found = name.replace("model.", "text.", 1) if name.startswith("model.") else name
        np.testing.assert_array_equal(renamed.tensor(found), tensor)


def test_many_files_are_one_table(
    shard: Callable[[], Path], tensors: Tensors, rules: tuple[WeightRule, ...]
) -> None:
    checkpoint = open_checkpoint(ModelFolder(shard()))
    verify_weights(checkpoint, rules)
    assert len(checkpoint.files) == 2
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(checkpoint.tensor(name), tensor)


def test_tensors_nobody_reads_are_named_once(
    folder: Path,
    tensors: Tensors,
    rules: tuple[WeightRule, ...],
    caplog: pytest.LogCaptureFixture,
) -> None:
    norm = tensors["model.norm.weight"]
    harmless = {"model.layers.0.self_attn.rotary_emb.inv_freq": norm}
    save_file({**tensors, **harmless}, folder / "model.safetensors")
    verify_weights(open_checkpoint(ModelFolder(folder)), rules)
    assert not caplog.records
    more = {f"model.layers.{index}.input_layernorm.weight": norm for index in (1, 2)}
    save_file({**tensors, **harmless, **more}, folder / "model.safetensors")
    verify_weights(open_checkpoint(ModelFolder(folder)), rules)
    (record,) = caplog.records
    assert "2 tensors" in record.getMessage()
    assert "model.layers.1.input_layernorm.weight" in record.getMessage()


def test_q_k_and_v_are_fused_per_shard(
    folder: Path, tensors: Tensors, rules: tuple[WeightRule, ...]
) -> None:
    source = checkpoint_source(open_checkpoint(ModelFolder(folder)), "bfloat16", num_shards=2)
    fused = source(rule_of(rules, QKV))
    q, k, v = (tensors[f"model.layers.0.self_attn.{name}_proj.weight"] for name in "qkv")
    expected = np.concatenate([q[:16], k[:8], v[:8], q[16:], k[8:], v[8:]])
    np.testing.assert_array_equal(fused, expected)


@pytest.mark.parametrize("parameter", [QKV, DOWN])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_weights_are_cast_to_the_dtype_asked_for(
    folder: Path, tensors: Tensors, rules: tuple[WeightRule, ...], dtype: str, parameter: str
) -> None:
    source = checkpoint_source(open_checkpoint(ModelFolder(folder)), dtype, num_shards=1)
    weight = source(rule_of(rules, parameter))
    wanted = np.dtype(getattr(ml_dtypes, dtype, None) or dtype)
    assert weight.dtype == wanted
    names = rule_of(rules, parameter).sources
    expected = np.concatenate([tensors[name].astype(wanted) for name in names])
    np.testing.assert_array_equal(weight, expected)


def test_loaded_weights_do_not_live_in_the_mapped_file(
    folder: Path, rules: tuple[WeightRule, ...]
) -> None:
    device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    source = checkpoint_source(open_checkpoint(ModelFolder(folder)), "bfloat16", num_shards=1)
    leaves = load_weights(source, [Placement(rule, device) for rule in rules])
    before = [np.array(leaf) for leaf in leaves]
    file = folder / "model.safetensors"
    with file.open("r+b") as stream:
        stream.write(b"\xff" * file.stat().st_size)
    for leaf, values in zip(leaves, before, strict=True):
        np.testing.assert_array_equal(np.array(leaf), values)


def test_progress_is_told_for_every_parameter(folder: Path, rules: tuple[WeightRule, ...]) -> None:
    device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    told: list[tuple[int, int]] = []
    placements = [Placement(rule, device) for rule in rules]
    load_weights(dummy_source("float32", 0), placements, lambda *progress: told.append(progress))
    assert told == [(done, len(rules)) for done in range(1, len(rules) + 1)]
