"""What makes two servers give the same bytes, hashed into OpenAI's `system_fingerprint`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from engine.weights.checkpoint import WeightFile

FINGERPRINT_HEX_DIGITS = 12


def model_fingerprint(
    *, versions: Iterable[str], config_json: bytes, weight_files: Iterable[WeightFile]
) -> str:
    """`fp_` and 12 hex digits. Cheap: weight data is not read, only sizes and headers.

    Args:
        versions: everything that is not in the folder but changes the arithmetic: versions of
            servax and jax, platform and device kind, dtypes, parallel sizes.
        config_json: the bytes of config.json.
    """
    digest = hashlib.sha256()
    for text in versions:
        digest.update(text.encode() + b"\0")
    digest.update(hashlib.sha256(config_json).digest())
    for file in weight_files:
        digest.update(f"{file.name}\0{file.num_bytes}\0{file.header_digest}\0".encode())
    return "fp_" + digest.hexdigest()[:FINGERPRINT_HEX_DIGITS]
