"""Compile for an H100 on a machine without one, and read what the compiler made of it.

XLA's CUDA plugin compiles against a description of the chip (`h100.txtpb`), and the real ptxas
turns every kernel into machine code for sm_90a. Nothing runs.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import topologies
from jax.sharding import Mesh, NamedSharding, PartitionSpec

CHIP = Path(__file__).with_name("h100.txtpb")
REGISTER_LIMIT = 255
"""Registers of a thread that sm_90a can name; a block of three warpgroups may use 168 of each."""


@dataclasses.dataclass(frozen=True)
class Kernel:
    """What ptxas says of one kernel.

    Attributes:
        is_budget_ignored: it could not keep to `set_max_registers` and gave all threads alike.
    """

    name: str
    registers: int
    spill_bytes: int
    is_budget_ignored: bool


@dataclasses.dataclass(frozen=True)
class Facts:
    """What the compiler says of one jitted function.

    Attributes:
        kernels: the Mosaic kernels it calls, in order.
        alias_bytes: arguments whose memory holds a result.
        temp_bytes: memory taken beside arguments and results.
        hlo: the optimised program as text.
    """

    kernels: tuple[Kernel, ...]
    alias_bytes: int
    temp_bytes: int
    hlo: str

    def copies_of(self, shape: tuple[int, ...]) -> list[str]:
        """Lines of the program that copy, convert or select a whole array of `shape`."""
        written = f"[{','.join(map(str, shape))}]"
        results = re.compile(rf"= \w+{re.escape(written)}\S* (copy|copy-start|convert|select)\(")
        return [line.strip() for line in self.hlo.splitlines() if results.search(line)]

    def blocking(self) -> list[str]:
        """Lines that would make the host wait: conditionals, and loops of unknown length."""
        suspects = [
            line.strip()
            for line in self.hlo.splitlines()
            if re.search(r" (conditional|while)\(", line)
        ]
        return [line for line in suspects if "known_trip_count" not in line]

    def faults(self, *, kv_shape: tuple[int, ...], kv_bytes: int, temp_budget: int) -> list[str]:
        """Everything that a step must not do; empty if it is fit for the chip."""
        spilling = [kernel for kernel in self.kernels if kernel.spill_bytes]
        hungry = [kernel for kernel in self.kernels if kernel.registers > REGISTER_LIMIT]
        found = [f"spills {kernel.spill_bytes} bytes: {kernel.name}" for kernel in spilling]
        found += [f"{kernel.registers} registers: {kernel.name}" for kernel in hungry]
        ignored = [kernel for kernel in self.kernels if kernel.is_budget_ignored]
        found += [f"register budget ignored: {kernel.name}" for kernel in ignored]
        found += [f"blocks the host: {line[:120]}" for line in self.blocking()]
        found += [f"touches all pages: {line[:120]}" for line in self.copies_of(kv_shape)]
        if self.alias_bytes < kv_bytes:
            found.append(f"pages not in place: {self.alias_bytes} of {kv_bytes} bytes aliased")
        if self.temp_bytes > temp_budget:
            found.append(f"temporaries: {self.temp_bytes} bytes of {temp_budget} allowed")
        return found


def compile_for_h100(
    fn: Callable[..., Any],
    *shapes: Any,
    donate_argnums: tuple[int, ...] = (),
    out_shardings: Any = None,
) -> tuple[Any, Facts]:
    """Compile `fn` for one H100, or for those its arguments are sharded over.

    Args:
        shapes: arguments as (trees of) `jax.ShapeDtypeStruct`; one with a sharding over
            `h100_devices` keeps it.
        donate_argnums: arguments whose memory results may take.
        out_shardings: as `jax.jit` takes them; None leaves them to the compiler.

    Returns:
        The compiled object and what there is to know of it.

    Raises:
        RuntimeError: the program calls a Mosaic kernel of which ptxas never reported anything.
    """
    placed = jax.tree.map(_on_chip, shapes)
    mesh = jax.sharding.AbstractMesh((), (), abstract_device=_abstract_chip())
    with jax.sharding.use_abstract_mesh(mesh), _captured_output() as output:
        jitted = jax.jit(fn, donate_argnums=donate_argnums, out_shardings=out_shardings)
        traced = jitted.trace(*placed)
        compiled = traced.lower(lowering_platforms=("cuda",)).compile()
        report = list(_reported(output.read_text(errors="replace")))
    hlo, memory = compiled.as_text(), compiled.memory_analysis()
    kernels = tuple(_kernels_of(hlo, report))
    return compiled, Facts(kernels, memory.alias_size_in_bytes, memory.temp_size_in_bytes, hlo)


_known: dict[str, Kernel] = {}
"""Hash of a kernel to what ptxas said of it: Mosaic compiles equal kernels once a process."""


def _kernels_of(hlo: str, report: list[Kernel]) -> Iterator[Kernel]:
    """Every Mosaic kernel that the program calls, from the report or from an earlier one."""
    call = re.compile(r'op_name="(?P<name>[^"]*)".*?kernel_hash = "(?P<hash>(?:[^"\\]|\\.)*)"')
    for line in hlo.splitlines():
        if 'custom_call_target="mosaic_gpu' not in line:
            continue
        found = call.search(line)
        if found is None:
            raise RuntimeError(f"a Mosaic call of unknown form: {line[:300]}")
        if found["hash"] not in _known:
            _known[found["hash"]] = _worst_named(found["name"], report)
        yield _known[found["hash"]]


def _worst_named(path: str, report: list[Kernel]) -> Kernel:
    """What the report says of the kernel called at `path`; the worst of several by that name."""
    steps = path.split("/")
    same = [kernel for kernel in report if kernel.name.removesuffix("_mosaic_gpu_kernel") in steps]
    if not same:
        raise RuntimeError(f"ptxas reported nothing of {path}: is its wheel installed?")
    return max(same, key=lambda kernel: (kernel.is_budget_ignored, kernel.spill_bytes))


def _reported(text: str) -> Iterator[Kernel]:
    """Kernels in the report of ptxas."""
    entry = re.compile(
        r"(?P<ignored>'setmaxnreg' ignored[^\n]*\n[^\n]*\n)?"
        r"[^\n]*Compiling entry function '(?P<name>\w+)' for 'sm_90a'.*?"
        r"(?P<stores>\d+) bytes spill stores, (?P<loads>\d+) bytes spill loads.*?"
        r"Used (?P<registers>\d+) registers",
        re.DOTALL,
    )
    for found in entry.finditer(text):
        spilled = int(found["stores"]) + int(found["loads"])
        is_ignored = found["ignored"] is not None
        yield Kernel(found["name"], int(found["registers"]), spilled, is_ignored)


@contextlib.contextmanager
def _captured_output() -> Iterator[Path]:
    """The file that all output of this process goes to meanwhile, with ptxas made to talk."""
    with tempfile.TemporaryDirectory() as folder, _talking_ptxas():
        path = Path(folder) / "output"
        sys.stdout.flush()
        sys.stderr.flush()
        kept = [(fd, os.dup(fd)) for fd in (1, 2)]
        with path.open("wb") as file:
            for fd, _ in kept:
                os.dup2(file.fileno(), fd)
        try:
            yield path
        finally:
            for fd, copy in kept:
                os.dup2(copy, fd)
                os.close(copy)


@contextlib.contextmanager
def _talking_ptxas() -> Iterator[None]:
    """`MOSAIC_GPU_DUMP_PTXAS` set; Mosaic reads it at every compilation."""
    before = os.environ.get("MOSAIC_GPU_DUMP_PTXAS")
    os.environ["MOSAIC_GPU_DUMP_PTXAS"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["MOSAIC_GPU_DUMP_PTXAS"]
        else:
            os.environ["MOSAIC_GPU_DUMP_PTXAS"] = before


def h100_devices(num_devices: int = 1) -> list[Any]:
    """Described chips of one machine, to lay out meshes on."""
    return list(_topology(num_devices).devices)


def _on_chip(shape: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
    sharding = getattr(shape, "sharding", None)
    return jax.ShapeDtypeStruct(shape.shape, shape.dtype, sharding=sharding or _placement())


@functools.cache
def _placement() -> NamedSharding:
    return NamedSharding(Mesh(np.array(h100_devices()), ("x",)), PartitionSpec())


@functools.cache
def _abstract_chip() -> Any:
    return jax.sharding.AbstractDevice(
        device_kind="NVIDIA H100 80GB HBM3", platform="gpu", num_cores=132
    )


@functools.cache
def _topology(num_devices: int) -> Any:
    from jax._src import xla_bridge

    # The plugin registers itself twice and logs the second attempt's failure, which is harmless.
    logging.getLogger("jax._src.xla_bridge").setLevel(logging.CRITICAL)
    xla_bridge.discover_pjrt_plugins()
    return topologies.get_topology_desc(
        "", platform="cuda", target_config=CHIP.read_text(), topology=f"1x1x{num_devices}"
    )
