"""Names of axes, and the mesh axis each lies on: the one table of how a model is sharded.

The mesh has two axes. "model" splits heads, feed-forward columns and vocabulary over devices that
work on the same tokens (tensor parallelism). "data" splits rows of the step: every array of the
ragged batch is then the shards' own batches one after another, each with its own page ids, and the
pages of the pool are split alike. Rows of logits are whole on every device.
"""

from __future__ import annotations

from collections.abc import Sequence

from jax.sharding import Mesh, NamedSharding, PartitionSpec

from pallas_kernels.paged_attention import KVPages, page_axes

MESH_AXES: tuple[str, str] = ("data", "model")

LOGICAL_TO_MESH: dict[str, str | None] = {
    "tokens": "data",
    "pages": "data",
    "rows": None,
    "vocab": "model",
    "heads": "model",
    "kv_heads": "model",
    "ff": "model",
    "embed": None,
    "head_dim": None,
    "slots": None,
}


def partition_spec(logical_axes: Sequence[str]) -> PartitionSpec:
    """Where each of an array's axes lies on the mesh."""
    return PartitionSpec(*(LOGICAL_TO_MESH[axis] for axis in logical_axes))


def weight_sharding(mesh: Mesh, logical_axes: Sequence[str], shape: Sequence[int]) -> NamedSharding:
    """Sharding of a weight; an axis that its mesh axis does not divide stays whole."""
    axes = (
        axis if axis is not None and size % mesh.shape[axis] == 0 else None
        for axis, size in zip(partition_spec(logical_axes), shape, strict=True)
    )
    return NamedSharding(mesh, PartitionSpec(*axes))


def logits_sharding(mesh: Mesh, shape: Sequence[int]) -> NamedSharding:
    """Sharding of `[R, V]` as the matmul with a sharded weight leaves it."""
    return weight_sharding(mesh, ("rows", "vocab"), shape)


def heads_spec() -> PartitionSpec:
    """Of `[T, heads, H]`."""
    return partition_spec(("tokens", "heads", "head_dim"))


def kv_spec(kv: KVPages) -> PartitionSpec:
    """Of every array of one layer's pages."""
    return partition_spec(page_axes(kv))


def kv_scales_spec() -> PartitionSpec:
    """Of both arrays of `KVScales`."""
    return partition_spec(("kv_heads",))


def batch_spec() -> PartitionSpec:
    """Of every array of a ragged batch."""
    return partition_spec(("tokens",))
