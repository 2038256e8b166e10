"""Variables that must be in the environment before the engine process starts. No side effects."""

from __future__ import annotations

from collections.abc import Mapping


def engine_environment(platform: str, present: Mapping[str, str]) -> dict[str, str]:
    """What a launcher adds to the environment of the engine process.

    Args:
        platform: "cpu", "gpu", "tpu", or "" when jax shall find out.
        present: the launcher's own environment; what the operator has set there wins.
    """
    wanted = {
        # Halves the cost of large fresh buffers: huge pages for malloc (glibc reads it at start).
        "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
        # XLA's warnings about machines and autotuning are not the operator's concern.
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "TOKENIZERS_PARALLELISM": "false",
    }
    if platform:
        wanted["JAX_PLATFORMS"] = {"gpu": "cuda"}.get(platform, platform)
    return {name: value for name, value in wanted.items() if name not in present}
