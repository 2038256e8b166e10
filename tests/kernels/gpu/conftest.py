"""What the tests of the GPU kernels share."""

from __future__ import annotations

import jax
import pytest


@pytest.fixture
def quick_compiles():
    """Interpreted kernels are compiled once and run once: optimising them costs twice the time."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)
