"""What the machine has, as plain numbers for `engine.config.resolve`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from engine.config import DeviceFacts
from engine.sharding.mesh import Device

CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")
CGROUP_USAGE = Path("/sys/fs/cgroup/memory.current")


def device_facts(devices: Sequence[Device]) -> DeviceFacts:
    """Facts of the first device; a mesh is made of equal ones."""
    device = devices[0]
    platform = str(device.platform)
    memory_bytes, free_bytes = host_memory() if platform == "cpu" else _device_memory(device)
    return DeviceFacts(
        platform=platform,
        device_kind=str(device.device_kind),
        num_devices=len(devices),
        memory_bytes=memory_bytes,
        free_memory_bytes=free_bytes,
        has_half_precision_units=platform != "cpu" or _has_matrix_units(),
    )


def _has_matrix_units() -> bool:
    """Whether the processor has AMX. AVX-512's 16-bit products lose to float32 ones in XLA."""
    try:
        return "amx_bf16" in Path("/proc/cpuinfo").read_text()
    except OSError:
        return False


def host_memory() -> tuple[int, int]:
    """Bytes of memory this process may use, and bytes of them that are free now."""
    page_bytes = os.sysconf("SC_PAGE_SIZE")
    total = page_bytes * os.sysconf("SC_PHYS_PAGES")
    free = _available_bytes() or page_bytes * os.sysconf("SC_AVPHYS_PAGES")
    limit = _read_number(CGROUP_LIMIT)
    if limit is not None and limit < total:
        return limit, max(0, min(free, limit - (_read_number(CGROUP_USAGE) or 0)))
    return total, free


def _available_bytes() -> int | None:
    """Linux's own estimate, which counts page cache that can be dropped."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def _read_number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def _device_memory(device: Device) -> tuple[int, int]:
    stats = device.memory_stats() or {}
    limit = int(stats.get("bytes_limit", 0))
    return limit, limit - int(stats.get("bytes_in_use", 0))
