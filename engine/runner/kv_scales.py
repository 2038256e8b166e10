"""Which scales 8-bit pages get: the checkpoint's, or none, which is 1."""

from __future__ import annotations

import dataclasses
import logging

from engine.config import KV_CACHE_DTYPES, EngineConfig
from engine.errors import SetupError
from engine.runner.model_files import ModelFiles
from engine.weights.checkpoint import Checkpoint
from models.kv_scales import with_kv_scales
from pallas_kernels.paged_attention import is_eight_bit

_logger = logging.getLogger(__name__)


def with_scales(
    files: ModelFiles, checkpoint: Checkpoint | None, config: EngineConfig
) -> ModelFiles:
    """The model with the scales of its checkpoint, if its pages are to be of 8 bits.

    Raises:
        SetupError: whole numbers without a scale are no keys and values.
    """
    chosen = config.kv_cache_dtype
    if checkpoint is None or not is_eight_bit(KV_CACHE_DTYPES.get(chosen, "")):
        return files
    decoder, rules = with_kv_scales(files.decoder, files.rules, checkpoint.entries.keys())
    if decoder.has_kv_scales:
        return dataclasses.replace(files, decoder=decoder, rules=rules)
    if chosen == "int8":
        raise SetupError(
            "--kv-cache-dtype int8 needs a checkpoint with k_scale and v_scale tensors: without "
            "them only whole numbers of keys and values would be left. Choose fp8."
        )
    _logger.warning(
        "The checkpoint has no k_scale and v_scale tensors: %s pages hold keys and values at a "
        "scale of 1.",
        chosen,
    )
    return files
