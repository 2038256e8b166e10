"""Where each argument of the step lies on the mesh."""

from __future__ import annotations

import dataclasses

from jax.sharding import Mesh, NamedSharding, PartitionSpec

from models.logical_axes import batch_spec, kv_spec, weight_sharding
from models.weight_rules import WeightRule
from pallas_kernels.paged_attention import KVPages


@dataclasses.dataclass(frozen=True)
class StepShardings:
    """Shardings of everything but weights and pages.

    Attributes:
        packed: of `[data shards, fields]`: every data shard reads its own rows.
        replicated: of slot state and results: every device has all of them.
    """

    packed: NamedSharding
    replicated: NamedSharding


def step_shardings(mesh: Mesh) -> StepShardings:
    """Shardings of the step on this mesh."""
    return StepShardings(
        packed=NamedSharding(mesh, batch_spec()),
        replicated=NamedSharding(mesh, PartitionSpec()),
    )


def pages_sharding(mesh: Mesh, kv: KVPages) -> NamedSharding:
    """Sharding of every array of one layer's pages: every data shard has a pool of its own."""
    return NamedSharding(mesh, kv_spec(kv))


def parameter_sharding(mesh: Mesh, rule: WeightRule) -> NamedSharding:
    """Sharding of one parameter, by the logical names of its axes."""
    return weight_sharding(mesh, rule.logical_axes, rule.shape)
