"""From a model's name to a runner: what it says of itself, and what it refuses."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import msgspec
import numpy as np
import pytest

from engine.config import EngineConfig
from engine.errors import MemoryPlanError, ModelFormatError, SetupError
from engine.runner.build import ReadyRunner, make_runner
from engine.runner.model_files import laid_over, read_model_files


@pytest.fixture
def broken_folder(model_folder: Path, tmp_path: Path) -> Callable[..., Path]:
    """A copy of the model whose config.json is changed; None removes an entry."""

    def change(**entries: Any) -> Path:
        folder = tmp_path / "changed"
        shutil.copytree(model_folder, folder)
        config = json.loads((folder / "config.json").read_text()) | entries
        config = {name: value for name, value in config.items() if value is not None}
        (folder / "config.json").write_text(json.dumps(config))
        return folder

    return change


def test_the_model_is_described(ready: ReadyRunner) -> None:
    info = ready.info
    assert (info.architecture, info.vocab_size, info.max_model_len) == ("LlamaForCausalLM", 96, 128)
    assert (info.eos_token_ids, info.dtype, info.max_logprobs) == ((2,), "float32", 5)
    assert (info.max_num_seqs, info.page_size) == (16, 8)
    assert info.weight_bytes == 4 * info.num_parameters
    assert info.num_parameters == sum(leaf.size for leaf in ready.runner._weights)
    assert info.num_pages == ready.scheduler_config.num_pages == 16 * 16 + 1


def test_progress_is_told_by_phase(engine_config: EngineConfig) -> None:
    told: list[tuple[str, int, int]] = []
    make_runner(engine_config, lambda *progress: told.append(progress))
    assert {phase for phase, _, _ in told} == {"loading weights", "compiling steps"}
    assert any(done == total for phase, done, total in told if phase == "loading weights")


def test_dummy_weights_need_no_weight_file(
    engine_config: EngineConfig, broken_folder: Callable[..., Path]
) -> None:
    folder = broken_folder()
    (folder / "model.safetensors").unlink()
    config = msgspec.structs.replace(engine_config, model=str(folder), load_format="dummy", seed=3)
    once, again = make_runner(config), make_runner(config)
    for left, right in zip(once.runner._weights, again.runner._weights, strict=True):
        np.testing.assert_array_equal(np.array(left), np.array(right))
    assert once.info.fingerprint == again.info.fingerprint


@pytest.mark.parametrize(("dtype", "stored"), [("bfloat16", "uint16"), ("float16", "uint16")])
def test_weights_and_pages_have_the_dtype_asked_for(
    engine_config: EngineConfig, ready: ReadyRunner, dtype: str, stored: str
) -> None:
    other = make_runner(msgspec.structs.replace(engine_config, dtype=dtype))
    kept_as = other.runner.program.config.weight_dtype
    assert kept_as in (dtype, "float32")  # float32 where 16-bit products are slow
    assert {str(leaf.dtype) for leaf in other.runner._weights} == {kept_as}
    assert {str(pages.dtype) for pages in jax.tree.leaves(other.runner._kv)} == {stored}
    assert other.info.dtype == dtype
    assert other.info.fingerprint != ready.info.fingerprint


@pytest.mark.parametrize(
    ("entries", "word"),
    [
        ({"architectures": ["GPT2LMHeadModel"]}, "GPT2LMHeadModel"),
        ({"architectures": None}, "architecture"),
        ({"hidden_size": None}, "hidden_size"),
        ({"hidden_size": "wide"}, "wide"),
        ({"num_attention_heads": 0}, "config.json"),
        ({"eos_token_id": 96}, "eos_token_id"),
        ({"eos_token_id": "</s>"}, "eos_token_id"),
        ({"intermediate_size": 65}, "shape"),
        ({"num_hidden_layers": 3}, "model.layers.2"),
        ({"rope_scaling": {"rope_type": "yarn"}}, "yarn"),
    ],
)
def test_an_unusable_config_is_refused_in_one_line_at_once(
    engine_config: EngineConfig, broken_folder: Callable[..., Path], entries: Any, word: str
) -> None:
    folder = broken_folder(**entries)
    started = time.process_time()
    with pytest.raises(ModelFormatError, match=word) as caught:
        make_runner(msgspec.structs.replace(engine_config, model=str(folder)))
    assert time.process_time() - started < 2.0
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_config_that_is_not_json_is_refused(
    engine_config: EngineConfig, broken_folder: Callable[..., Path]
) -> None:
    folder = broken_folder()
    (folder / "config.json").write_text("{")
    with pytest.raises(ModelFormatError, match=r"config\.json: this is not valid JSON"):
        make_runner(msgspec.structs.replace(engine_config, model=str(folder)))


def test_a_context_that_cannot_be_kept_is_refused(engine_config: EngineConfig) -> None:
    config = msgspec.structs.replace(engine_config, kv_cache_memory_bytes=8192)
    with pytest.raises(MemoryPlanError, match="--max-model-len"):
        make_runner(config)


def test_more_devices_than_there_are_is_refused(engine_config: EngineConfig) -> None:
    with pytest.raises(SetupError, match="--tensor-parallel-size"):
        make_runner(msgspec.structs.replace(engine_config, tensor_parallel_size=4))


def test_overrides_are_laid_over_the_models_config(engine_config: EngineConfig) -> None:
    overrides = {"max_position_embeddings": 64, "eos_token_id": [3, 4]}
    config = msgspec.structs.replace(engine_config, max_model_len=None, hf_overrides=overrides)
    files, plain = read_model_files(config), read_model_files(engine_config)
    assert files.decoder.max_position_embeddings == 64
    assert files.eos_token_ids == (3, 4)
    assert files.config_json != plain.config_json


def test_an_override_that_is_no_config_is_refused(engine_config: EngineConfig) -> None:
    config = msgspec.structs.replace(engine_config, hf_overrides={"hidden_size": "wide"})
    with pytest.raises(ModelFormatError):
        read_model_files(config)


def test_objects_are_laid_into_objects() -> None:
    below = {"a": {"b": 1, "c": 2}, "d": 3}
    assert laid_over(below, {"a": {"c": 5}, "e": None}) == {
        "a": {"b": 1, "c": 5},
        "d": 3,
        "e": None,
    }
    assert below["a"] == {"b": 1, "c": 2}
