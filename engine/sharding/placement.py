"""Where each argument of the step lies on the mesh."""

from __future__ import annotations

import dataclasses

from jax.sharding import Mesh, NamedSharding, PartitionSpec

from models.logical_axes import batch_spec, kv_spec, weight_sharding
from models.weight_rules import WeightRule


@dataclasses.dataclass(frozen=True)
class StepShardings:
    """Shardings of everything but the weights.

    Attributes:
        kv: of pages `[N * data shards, Z, K*H]`: every data shard has a pool of its own.
        packed: of `[data shards, fields]`: every data shard reads its own rows.
        replicated: of slot state and results: every device has all of them.
    """

    kv: NamedSharding
    packed: NamedSharding
    replicated: NamedSharding


def step_shardings(mesh: Mesh) -> StepShardings:
    """Shardings of the step on this mesh."""
    return StepShardings(
        kv=NamedSharding(mesh, kv_spec()),
        packed=NamedSharding(mesh, batch_spec()),
        replicated=NamedSharding(mesh, PartitionSpec()),
    )


def parameter_sharding(mesh: Mesh, rule: WeightRule) -> NamedSharding:
    """Sharding of one parameter, by the logical names of its axes."""
    return weight_sharding(mesh, rule.logical_axes, rule.shape)
