"""Element types of safetensors files and of ours, as numpy dtypes."""

from __future__ import annotations

import ml_dtypes
import numpy as np

NUMPY_DTYPES: dict[str, np.dtype] = {
    "float32": np.dtype(np.float32),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
    "float16": np.dtype(np.float16),
}
"""The dtypes a model can run in."""

SAFETENSORS_DTYPES: dict[str, np.dtype] = {
    "F32": NUMPY_DTYPES["float32"],
    "BF16": NUMPY_DTYPES["bfloat16"],
    "F16": NUMPY_DTYPES["float16"],
}
"""The element types a weight may have in a file. Quantised ones are refused by name."""

SAFETENSORS_ITEM_BYTES = {
    "BOOL": 1,
    "U8": 1,
    "I8": 1,
    "F8_E4M3": 1,
    "F8_E5M2": 1,
    "F8_E8M0": 1,
    "I16": 2,
    "U16": 2,
    "F16": 2,
    "BF16": 2,
    "I32": 4,
    "U32": 4,
    "F32": 4,
    "I64": 8,
    "U64": 8,
    "F64": 8,
    "C64": 8,
}
"""Bytes of one element of every type the format knows (sub-byte types aside)."""
