"""The mesh: always two axes, also for one device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from jax.sharding import Mesh

from engine.errors import SetupError
from models.config import DecoderConfig
from models.logical_axes import MESH_AXES

Device: TypeAlias = Any
"""`jax.Device`, which type checkers do not see as a type."""


def make_mesh(
    devices: Sequence[Device], *, data_parallel_size: int, tensor_parallel_size: int
) -> Mesh:
    """A mesh of `data_parallel_size` x `tensor_parallel_size` of the first devices.

    Raises:
        SetupError: there are fewer devices.
    """
    num_devices = data_parallel_size * tensor_parallel_size
    if num_devices > len(devices):
        raise SetupError(
            f"--tensor-parallel-size {tensor_parallel_size} x --data-parallel-size "
            f"{data_parallel_size} needs {num_devices} devices; this machine has {len(devices)}."
        )
    grid = np.array(devices[:num_devices]).reshape(data_parallel_size, tensor_parallel_size)
    return Mesh(grid, MESH_AXES)


def verify_divisible(model: DecoderConfig, mesh: Mesh, max_num_seqs: int) -> None:
    """Check that the model and the slots split evenly over the mesh.

    Raises:
        SetupError: they do not; names the flag.
    """
    tensor_parallel_size, data_parallel_size = mesh.shape["model"], mesh.shape["data"]
    sizes = {
        "attention heads": model.num_heads,
        "key/value heads": model.num_kv_heads,
        "feed-forward columns": model.d_ff,
    }
    for name, size in sizes.items():
        if size % tensor_parallel_size != 0:
            raise SetupError(
                f"--tensor-parallel-size {tensor_parallel_size} does not divide the model's "
                f"{size} {name}."
            )
    if max_num_seqs % data_parallel_size != 0:
        raise SetupError(
            f"--max-num-seqs {max_num_seqs} is not a multiple of --data-parallel-size "
            f"{data_parallel_size}."
        )
