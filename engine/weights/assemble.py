"""One parameter of the decoder, on the host, from the tensors of a checkpoint."""

from __future__ import annotations

import math

import numpy as np

from engine.errors import ModelFormatError
from engine.weights.checkpoint import Checkpoint, WeightArray
from engine.weights.dtypes import SAFETENSORS_DTYPES
from engine.weights.header import TensorEntry
from models.weight_rules import WeightRule, fuse

ALIGNMENT_BYTES = 64


def verify_checkpoint(
    checkpoint: Checkpoint, rules: tuple[WeightRule, ...], supported_dtypes: frozenset[str]
) -> None:
    """Check that every parameter can be made, from headers alone.

    Raises:
        ModelFormatError: a tensor is missing, or has a wrong shape or dtype; names its file.
    """
    for rule in rules:
        num_rows = 0
        for name in rule.sources:
            entry = checkpoint.entry(name)
            if rule.scale_heads:
                _verify_scale(entry, rule)
                continue
            if entry.dtype not in supported_dtypes:
                raise ModelFormatError(
                    f"{entry.file}: {name!r} has dtype {entry.dtype}; "
                    f"supported are {', '.join(sorted(supported_dtypes))}."
                )
            is_last = name == rule.sources[-1]
            num_rows += entry.shape[0] if entry.shape else 0
            is_wrong_size = is_last and num_rows != rule.shape[0]
            if entry.shape[1:] != rule.shape[1:] or not entry.shape or is_wrong_size:
                raise ModelFormatError(
                    f"{entry.file}: {name!r} has shape {list(entry.shape)}, which does not fit "
                    f"the config.json: {' + '.join(rule.sources)} must make {list(rule.shape)}."
                )


def _verify_scale(entry: TensorEntry, rule: WeightRule) -> None:
    if entry.dtype not in SAFETENSORS_DTYPES or math.prod(entry.shape) not in (1, rule.scale_heads):
        raise ModelFormatError(
            f"{entry.file}: {entry.name!r} of dtype {entry.dtype} and shape {list(entry.shape)} is "
            f"neither one scale nor one for each of {rule.scale_heads} KV heads."
        )


def unused_tensors(checkpoint: Checkpoint, rules: tuple[WeightRule, ...]) -> list[str]:
    """Names that no rule reads, but for what is known to be needless: rotary tables that old
    checkpoints hold, and the copy of tied embeddings."""
    used = {name for rule in rules for name in rule.sources}
    needless = (".rotary_emb.inv_freq", "lm_head.weight")
    return sorted(name for name in checkpoint.entries.keys() - used if not name.endswith(needless))


def assemble(
    checkpoint: Checkpoint, rule: WeightRule, dtype: np.dtype, num_shards: int
) -> WeightArray:
    """The parameter of `rule` in `dtype`, fused per shard of the mesh's "model" axis.

    Scales are float32 whatever `dtype` says.

    It is in memory of its own. On CPU jax takes over aligned numpy memory instead of copying it
    (whatever `may_alias` says, jax 0.10), and weights must not live in a mapped file: whoever
    truncates it would kill the process.
    """
    if rule.scale_heads:
        return fuse([_scales(checkpoint, name, rule) for name in rule.sources], num_shards)
    sources = [checkpoint.tensor(name) for name in rule.sources]
    if len(sources) == 1:
        return _aligned_copy(sources[0], dtype)
    fused = fuse(sources, num_shards)
    return fused if fused.dtype == dtype else fused.astype(dtype)


def _scales(checkpoint: Checkpoint, name: str, rule: WeightRule) -> WeightArray:
    """The scale of every head, float32.

    Raises:
        ModelFormatError: one is not a positive number.
    """
    scales = checkpoint.tensor(name).astype(np.float32).reshape(-1)
    if not (np.isfinite(scales).all() and (scales > 0).all()):
        file = checkpoint.entry(name).file
        raise ModelFormatError(f"{file}: {name!r} holds {scales.min()}: scales are positive.")
    return np.broadcast_to(scales, (rule.scale_heads,))


def _aligned_copy(source: WeightArray, dtype: np.dtype) -> WeightArray:
    """A cast copy that jax can take over on CPU without copying again."""
    buffer = np.empty(source.size * dtype.itemsize + ALIGNMENT_BYTES, np.uint8)
    begin = -buffer.ctypes.data % ALIGNMENT_BYTES
    copy = buffer[begin : begin + source.size * dtype.itemsize].view(dtype).reshape(source.shape)
    np.copyto(copy, source, casting="unsafe")
    return copy
