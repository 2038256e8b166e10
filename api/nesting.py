"""How deeply JSON is nested: what could not be written again is not taken in."""

from __future__ import annotations

from typing import Any

import orjson

WRITABLE_LEVELS = 254
"""orjson reads 1024."""


def is_deeper(value: Any, num_levels: int) -> bool:
    """Whether JSON that was read is nested deeper than `num_levels`, at most `WRITABLE_LEVELS`.

    orjson tells the depth itself, as fast as it writes.
    """
    for _ in range(WRITABLE_LEVELS - num_levels):
        value = [value]
    try:
        orjson.dumps(value)
    except orjson.JSONEncodeError:
        return True
    return False
