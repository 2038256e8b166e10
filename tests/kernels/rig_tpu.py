"""Compile-only rig: real Mosaic and XLA:TPU code for v5e and v6e, made on a CPU.

The libtpu wheel compiles for a chip that is not there. What it hands back says whether a function
compiles at all, whether donated buffers are reused, how much scratch memory the chip needs and
which instructions run around the kernels. It says nothing of speed.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import os
import re
from collections.abc import Callable, Sequence

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")

import jax
import numpy as np
from jax.experimental import topologies
from jax.sharding import AbstractDevice, AbstractMesh, Mesh, NamedSharding, PartitionSpec

CHIPS = {"v5e": ("v5e:2x2", "TPU v5 lite"), "v6e": ("v6e:2x2", "TPU v6 lite")}
"""Chip to the smallest topology libtpu describes and to the kind jax gives its devices."""


@dataclasses.dataclass(frozen=True)
class Compiled:
    """What one compilation says. Sizes in bytes of device memory."""

    executable: jax.stages.Compiled
    hlo: str
    argument_bytes: int
    alias_bytes: int
    temp_bytes: int

    @property
    def has_conditional(self) -> bool:
        """Whether XLA branches: the host may wait for the branch."""
        return " conditional(" in self.hlo

    @property
    def has_unbounded_while(self) -> bool:
        """Whether a loop of XLA has no trip count known while compiling."""
        whiles = [line for line in self.hlo.splitlines() if re.search(r"\bwhile\(", line)]
        return any("known_trip_count" not in line for line in whiles)

    @property
    def num_kernels(self) -> int:
        """Pallas kernels called."""
        return self.hlo.count('custom_call_target="tpu_custom_call"')

    def has_copy_of(self, num_elements: int) -> bool:
        """Whether any copy instruction moves at least `num_elements` elements."""
        shapes = re.findall(r"= \(?\w+\[([\d,]+)\]\S* copy(?:-start)?\(", self.hlo)
        return any(
            math.prod(int(size) for size in shape.split(",")) >= num_elements for shape in shapes
        )


def compile_for_tpu(
    function: Callable[..., object],
    *arguments: object,
    chip: str = "v6e",
    donate_argnums: Sequence[int] = (),
) -> Compiled:
    """`function` compiled for one device of `chip`, or for those its arguments are sharded over.

    Args:
        function: what to jit.
        arguments: trees of `jax.ShapeDtypeStruct` or arrays, of which only shapes and dtypes are
            used. A `ShapeDtypeStruct` with a sharding over `four_devices` keeps it.
        chip: "v5e" or "v6e".
        donate_argnums: arguments whose memory the result may take.
    """
    on_one = NamedSharding(_one_device(chip), PartitionSpec())

    def abstract(leaf: jax.Array | jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        is_placed = isinstance(leaf, jax.ShapeDtypeStruct) and leaf.sharding is not None
        sharding = leaf.sharding if is_placed else on_one
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)

    shapes = jax.tree.map(abstract, arguments)
    jitted = jax.jit(function, donate_argnums=tuple(donate_argnums))
    with describing(chip):
        lowered = jitted.trace(*shapes).lower(lowering_platforms=("tpu",))
    executable = lowered.compile()
    memory = executable.memory_analysis()
    assert memory is not None
    return Compiled(
        executable,
        executable.as_text() or "",
        memory.argument_size_in_bytes,
        memory.alias_size_in_bytes,
        memory.temp_size_in_bytes,
    )


@functools.cache
def four_devices(chip: str) -> Mesh:
    """Four chips on one "model" axis."""
    topology = topologies.get_topology_desc(topology_name=CHIPS[chip][0], platform="tpu")
    return Mesh(np.array(topology.devices), ("model",))


def _one_device(chip: str) -> Mesh:
    return Mesh(four_devices(chip).devices[:1], ("model",))


def describing(chip: str) -> jax.sharding.use_abstract_mesh:
    """Code that asks jax which chip it is traced for gets this answer."""
    device = AbstractDevice(device_kind=CHIPS[chip][1], platform="tpu", num_cores=1)
    return jax.sharding.use_abstract_mesh(AbstractMesh((), (), abstract_device=device))
