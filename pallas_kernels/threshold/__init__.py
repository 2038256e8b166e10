"""Where a row of logits is cut: the k-th largest key, or the key that completes a mass.

`reference.py` is the specification. Two implementations, chosen once at start:

plain   reference.py   any device: XLA compiles it
gpu     gpu.py         Hopper GPUs: a radix histogram in Mosaic GPU
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, TypeAlias

import jax
from jax.sharding import Mesh, PartitionSpec

from pallas_kernels.paged_attention.gpu.supported import HOPPER
from pallas_kernels.paged_attention.kinds import Choice
from pallas_kernels.threshold import reference
from pallas_kernels.threshold.reference import weigh

__all__ = ["THRESHOLDS", "Threshold", "choose", "weigh"]

LargestCut: TypeAlias = Callable[[jax.Array, jax.Array, jax.Array | None], jax.Array]
"""As `reference.largest_cut`: keys, targets, scale."""


def _largest_cut_on_gpu(
    key_RV: jax.Array, target_R: jax.Array, scale_R: jax.Array | None = None
) -> jax.Array:
    from pallas_kernels.threshold import gpu

    return gpu.largest_cut(key_RV, target_R, scale_R)


THRESHOLDS: Mapping[str, LargestCut] = MappingProxyType(
    {"plain": reference.largest_cut, "gpu": _largest_cut_on_gpu}
)
"""Implementations by kind; all give the same bits."""


def choose(platform: str, device: Any = None) -> Choice:
    """The kind of threshold search for a device of a platform ("cpu", "gpu", "tpu")."""
    if platform != "gpu":
        return Choice("plain")
    capability = str(getattr(device, "compute_capability", HOPPER))
    if capability == HOPPER:
        return Choice("gpu")
    return Choice(
        "plain",
        f"The kernel for top_k and top_p needs a Hopper GPU (9.0), this one is {capability}. "
        "XLA's search runs, which reads the logits four times as often.",
    )


@dataclasses.dataclass(frozen=True)
class Threshold:
    """A search and where it runs; static in the step.

    Attributes:
        kind: of `THRESHOLDS`.
        mesh: several devices, each of which holds all rows; None for one.
    """

    kind: str = "plain"
    mesh: Mesh | None = None

    @property
    def skips_rows(self) -> bool:
        """Whether rows that ask for nothing cost next to nothing."""
        return self.kind == "gpu"

    def largest_cut(
        self, key_RV: jax.Array, target_R: jax.Array, scale_R: jax.Array | None = None
    ) -> jax.Array:
        """See `reference.largest_cut`."""
        search = THRESHOLDS[self.kind]
        if self.mesh is None or self.kind == "plain":
            return search(key_RV, target_R, scale_R)
        # XLA cannot split a kernel over devices; each computes the whole.
        everywhere = jax.shard_map(
            search,
            mesh=self.mesh,
            in_specs=PartitionSpec(),
            out_specs=PartitionSpec(),
            check_vma=False,
        )
        return everywhere(key_RV, target_R, scale_R)
