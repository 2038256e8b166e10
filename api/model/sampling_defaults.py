"""Sampling defaults for requests that do not set them, checked before the first request.

They come from the model's generation_config.json and from `--override-generation-config`, and
hold to the same limits as the parameters of a request.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.errors import InvalidParameterError
from engine.validation import RANGES

NAMES = {
    "repetition_penalty": "repetition_penalty",
    "temperature": "temperature",
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "max_new_tokens": "max_tokens",
    "max_tokens": "max_tokens",
}
"""Names in generation_config.json and what requests call them."""
TOP_K_OFF = -1


def find_fault(name: str, value: Any) -> str | None:
    """What is wrong with a default, as one sentence; None if nothing is. None is "not set"."""
    if name not in NAMES or value is None:
        return None
    limits = RANGES[NAMES[name]]
    kinds = (int,) if limits.is_integer else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds):
        wanted = "an integer" if limits.is_integer else "a number"
        return f"Invalid '{name}': expected {wanted}, but got {str(value)[:100]!r} instead."
    if NAMES[name] == "max_tokens" and value < 1:
        return f"Invalid '{name}': expected a value >= 1, but got {value} instead."
    if name == "top_k" and value == TOP_K_OFF:
        return None
    try:
        limits.verify(value, name)
    except InvalidParameterError as error:
        return error.message
    return None


def find_faults(values: Mapping[str, Any]) -> dict[str, str]:
    """Sentences by name of the default they are about."""
    faults = {name: find_fault(name, value) for name, value in values.items()}
    return {name: fault for name, fault in faults.items() if fault is not None}


def pick(values: Mapping[str, Any]) -> dict[str, Any]:
    """The entries that are sampling parameters, under the names requests use."""
    return {NAMES[name]: values[name] for name in reversed(NAMES) if values.get(name) is not None}
