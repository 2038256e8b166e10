"""The type of memory inside a kernel."""

from __future__ import annotations

from typing import Any, TypeAlias

Ref: TypeAlias = Any
"""A `jax.Ref` in VMEM, SMEM or device memory, or a semaphore; jax leaves views of it untyped."""
