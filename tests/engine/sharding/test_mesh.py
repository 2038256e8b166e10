from __future__ import annotations

import dataclasses

import jax
import numpy as np
import pytest
from jax.sharding import Mesh

from engine.errors import SetupError
from engine.sharding.mesh import make_mesh, verify_divisible
from models.config import DecoderConfig

MODEL = DecoderConfig(
    architecture="LlamaForCausalLM",
    vocab_size=96,
    d_model=32,
    num_layers=1,
    num_heads=8,
    num_kv_heads=4,
    head_dim=8,
    d_ff=64,
    norm_eps=1e-6,
    rope_theta=1e4,
    max_position_embeddings=128,
)


@dataclasses.dataclass(frozen=True)
class FakeMesh:
    """Only the sizes of a mesh."""

    shape: dict[str, int]


def test_one_device_is_a_mesh_of_two_axes() -> None:
    mesh = make_mesh(jax.devices(), data_parallel_size=1, tensor_parallel_size=1)
    assert isinstance(mesh, Mesh)
    assert dict(mesh.shape) == {"data": 1, "model": 1}
    assert np.size(mesh.devices) == 1


def test_more_devices_than_there_are_is_refused() -> None:
    with pytest.raises(SetupError, match="--tensor-parallel-size 2"):
        make_mesh(jax.devices()[:1], data_parallel_size=1, tensor_parallel_size=2)


@pytest.mark.parametrize(("size", "word"), [(3, "attention heads"), (8, "key/value heads")])
def test_heads_that_do_not_split_are_refused(size: int, word: str) -> None:
    mesh = FakeMesh({"data": 1, "model": size})
    with pytest.raises(SetupError, match=f"--tensor-parallel-size {size} .* {word}"):
        verify_divisible(MODEL, mesh, 16)


def test_slots_that_do_not_split_are_refused() -> None:
    with pytest.raises(SetupError, match="--max-num-seqs 15"):
        verify_divisible(MODEL, FakeMesh({"data": 2, "model": 1}), 15)


def test_what_splits_is_accepted() -> None:
    verify_divisible(MODEL, FakeMesh({"data": 2, "model": 4}), 16)
