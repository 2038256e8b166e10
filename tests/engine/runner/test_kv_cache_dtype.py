"""`--kv-cache-dtype`: what pages hold, whose scales they have, what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import msgspec
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from engine.config import EngineConfig
from engine.errors import ModelFormatError, SetupError
from engine.runner.build import ReadyRunner, make_runner

NUM_LAYERS, NUM_KV_HEADS = 2, 4
KV_CACHE_SCHEME = {"num_bits": 8, "type": "float", "strategy": "tensor"}


@pytest.fixture
def with_tensors(model_folder: Path, tmp_path: Path) -> Callable[..., str]:
    """The tiny model with further tensors, and entries of config.json."""

    def make(extra: dict[str, np.ndarray], **entries: Any) -> str:
        folder = tmp_path / "scaled"
        folder.mkdir()
        save_file(
            load_file(model_folder / "model.safetensors") | extra, folder / "model.safetensors"
        )
        config = json.loads((model_folder / "config.json").read_text()) | entries
        (folder / "config.json").write_text(json.dumps(config))
        return str(folder)

    return make


def scales(k: Any, v: Any, names: tuple[str, str] = ("k_scale", "v_scale")) -> dict[str, Any]:
    """Tensors of scales for every layer; layer 1's are double."""
    return {
        f"model.layers.{layer}.self_attn.{name}": np.asarray(
            np.multiply(scale, layer + 1), np.float32
        )
        for layer in range(NUM_LAYERS)
        for name, scale in zip(names, (k, v), strict=True)
    }


def scales_of(ready: ReadyRunner) -> list[list[float]]:
    """The scales of each layer that the runner was given."""
    pairs = zip(ready.runner.program.placements, ready.runner._weights, strict=True)
    return [np.asarray(leaf).tolist() for placement, leaf in pairs if placement.rule.scale_heads]


@pytest.mark.parametrize(
    ("chosen", "dtype", "stored"),
    [
        ("fp8", "float8_e4m3fn", "uint8"),
        ("fp8_e5m2", "float8_e5m2", "uint8"),
        ("bfloat16", "bfloat16", "uint16"),
    ],
)
def test_pages_hold_what_was_chosen_and_the_budget_holds_more_of_them(
    engine_config: EngineConfig, ready: ReadyRunner, chosen: str, dtype: str, stored: str
) -> None:
    budget = {"kv_cache_memory_bytes": 2**20, "kv_cache_dtype": chosen}
    other = make_runner(msgspec.structs.replace(engine_config, **budget))
    assert {str(leaf.dtype) for leaf in jax.tree.leaves(other.runner._kv)} == {stored}
    assert other.info.kv_dtype == dtype
    itemsize = np.dtype(stored).itemsize
    assert other.info.num_pages == 2**20 // (NUM_LAYERS * 2 * 8 * NUM_KV_HEADS * 8 * itemsize)
    assert other.info.fingerprint != ready.info.fingerprint
    assert ready.info.kv_dtype == "float32"


@pytest.mark.parametrize(
    "names",
    [("k_scale", "v_scale"), ("k_proj.k_scale", "v_proj.v_scale")],
    ids=["llm-compressor", "ModelOpt"],
)
def test_scales_of_the_checkpoint_are_loaded_in_float32(
    engine_config: EngineConfig, with_tensors: Callable[..., str], names: tuple[str, str]
) -> None:
    folder = with_tensors(
        scales(0.03, [0.01, 0.02, 0.03, 0.04], names),
        quantization_config={"config_groups": {}, "kv_cache_scheme": KV_CACHE_SCHEME},
    )
    config = msgspec.structs.replace(
        engine_config, model=folder, dtype="bfloat16", kv_cache_dtype="int8"
    )
    k, v = np.full(4, 0.03, np.float32), np.array([0.01, 0.02, 0.03, 0.04], np.float32)
    expected = [np.concatenate([k, v]) * (layer + 1) for layer in range(NUM_LAYERS)]
    np.testing.assert_array_equal(scales_of(make_runner(config)), expected)


def test_without_8_bit_pages_scales_are_left_in_the_file(
    engine_config: EngineConfig, with_tensors: Callable[..., str]
) -> None:
    config = msgspec.structs.replace(engine_config, model=with_tensors(scales(0.5, 0.5)))
    assert scales_of(make_runner(config)) == []


@pytest.mark.parametrize(
    ("extra", "word"),
    [
        (scales(0.0, 1.0), "positive"),
        (scales(np.nan, 1.0), "positive"),
        (scales([1.0, 1.0], 1.0), "4 KV heads"),
        ({"model.layers.1.self_attn.k_scale": np.float32(1)}, "no weight file holds"),
    ],
    ids=["zero", "nan", "of two heads", "of one layer"],
)
def test_unusable_scales_are_refused_by_name(
    engine_config: EngineConfig, with_tensors: Callable[..., str], extra: Any, word: str
) -> None:
    extra = {name: np.asarray(value) for name, value in extra.items()}
    config = msgspec.structs.replace(engine_config, model=with_tensors(extra), kv_cache_dtype="fp8")
    with pytest.raises(ModelFormatError, match=word) as caught:
        make_runner(config)
    assert "_scale" in str(caught.value)


def test_int8_without_scales_is_refused(engine_config: EngineConfig) -> None:
    with pytest.raises(SetupError, match="k_scale and v_scale"):
        make_runner(msgspec.structs.replace(engine_config, kv_cache_dtype="int8"))


def test_fp8_without_scales_is_said_in_the_log(
    engine_config: EngineConfig, caplog: pytest.LogCaptureFixture
) -> None:
    make_runner(msgspec.structs.replace(engine_config, kv_cache_dtype="fp8"))
    assert "scale of 1" in caplog.text


def test_weights_that_are_quantised_are_still_refused(
    engine_config: EngineConfig, with_tensors: Callable[..., str]
) -> None:
    quantised = {"config_groups": {"group_0": {}}, "kv_cache_scheme": KV_CACHE_SCHEME}
    folder = with_tensors({}, quantization_config=quantised)
    with pytest.raises(ModelFormatError, match="quantization_config"):
        make_runner(msgspec.structs.replace(engine_config, model=folder))
