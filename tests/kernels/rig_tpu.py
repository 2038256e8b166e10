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
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")
os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")  # no chip is touched: nobody is in the way

import jax
import numpy as np
from jax.experimental import topologies
from jax.sharding import AbstractDevice, AbstractMesh, Mesh, NamedSharding, PartitionSpec

CHIPS = {"v5e": "TPU v5 lite", "v6e": "TPU v6 lite"}
"""Chip to the kind jax gives its devices."""
GRIDS = {4: "2x2", 8: "2x4"}
"""Number of chips to the topology that libtpu describes; 4 are the fewest."""


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
    def unbounded_whiles(self) -> list[str]:
        """Loops of XLA whose number of turns depends on data.

        libtpu does not always write a trip count where it knows one: the sampler's search for a
        threshold stays a loop (16 digits of a key) whose condition compares a counter with a
        constant. Such loops have an end and are none of these.
        """
        whiles = [line.strip() for line in self.hlo.splitlines() if re.search(r" while\(", line)]
        return [line for line in whiles if not self._is_counted(line)]

    def _is_counted(self, while_line: str) -> bool:
        """Whether a loop has a trip count, or goes on while an element is less than a constant."""
        if "known_trip_count" in while_line:
            return True
        name = re.search(r"condition=%?([\w.-]+)", while_line)
        assert name is not None, while_line
        condition = re.search(
            rf"^%?{re.escape(name[1])} .*?^}}", self.hlo, re.DOTALL | re.MULTILINE
        )
        assert condition is not None, name[1]
        root = re.search(r"ROOT .* compare\(%?([\w.-]+), %?([\w.-]+)\), direction=LT", condition[0])
        if root is None:
            return False
        counter, end = (re.escape(operand) for operand in root.groups())
        is_element = re.search(rf"%?{counter} = s32\[\]\S* get-tuple-element\(", condition[0])
        is_constant = re.search(rf"%?{end} = s32\[\]\S* constant\(", condition[0])
        return is_element is not None and is_constant is not None

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
    out_shardings: Any = None,
) -> Compiled:
    """`function` compiled for one device of `chip`, or for those its arguments are sharded over.

    Args:
        function: what to jit.
        arguments: trees of `jax.ShapeDtypeStruct` or arrays, of which only shapes and dtypes are
            used. A `ShapeDtypeStruct` with a sharding over described devices keeps it.
        chip: "v5e" or "v6e".
        donate_argnums: arguments whose memory the result may take.
        out_shardings: as `jax.jit` takes them; None leaves them to the compiler.
    """
    on_one = NamedSharding(_one_device(chip), PartitionSpec())

    def abstract(leaf: jax.Array | jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        is_placed = isinstance(leaf, jax.ShapeDtypeStruct) and leaf.sharding is not None
        sharding = leaf.sharding if is_placed else on_one
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)

    shapes = jax.tree.map(abstract, arguments)
    jitted = jax.jit(function, donate_argnums=tuple(donate_argnums), out_shardings=out_shardings)
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
def tpu_devices(chip: str, num_devices: int = 4) -> tuple[Any, ...]:
    """Described chips that are neighbours, 4 or 8."""
    name = f"{chip}:{GRIDS[num_devices]}"
    return tuple(topologies.get_topology_desc(topology_name=name, platform="tpu").devices)


def four_devices(chip: str) -> Mesh:
    """Four chips on one "model" axis."""
    return Mesh(np.array(tpu_devices(chip)), ("model",))


def _one_device(chip: str) -> Mesh:
    return Mesh(four_devices(chip).devices[:1], ("model",))


def describing(chip: str) -> jax.sharding.use_abstract_mesh:
    """Code that asks jax which chip it is traced for gets this answer."""
    device = AbstractDevice(device_kind=CHIPS[chip], platform="tpu", num_cores=1)
    return jax.sharding.use_abstract_mesh(AbstractMesh((), (), abstract_device=device))
