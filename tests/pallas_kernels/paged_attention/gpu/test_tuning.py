"""How many blocks share the work of a GPU kernel."""

from __future__ import annotations

from types import SimpleNamespace

import jax
import pytest

from pallas_kernels.paged_attention.gpu.tuning import NUM_MULTIPROCESSORS, num_multiprocessors


def test_a_described_gpu_says_how_many_multiprocessors_it_has() -> None:
    device = jax.sharding.AbstractDevice(device_kind="NVIDIA H20", platform="gpu", num_cores=78)
    with jax.sharding.use_abstract_mesh(jax.sharding.AbstractMesh((), (), abstract_device=device)):
        assert num_multiprocessors() == 78


def test_the_device_here_says_it_where_none_is_described(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jax, "devices", lambda: [SimpleNamespace(core_count=114)])
    assert num_multiprocessors() == 114


def test_a_device_that_does_not_say_is_taken_for_an_h100() -> None:
    assert num_multiprocessors() == NUM_MULTIPROCESSORS
