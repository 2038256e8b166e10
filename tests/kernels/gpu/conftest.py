"""Helpers of these tests are modules beside them; tests have no packages to import them from."""

from __future__ import annotations

import sys
from pathlib import Path

import jax
import pytest

FOLDERS = (Path(__file__).parent, Path(__file__).parent.parent)
sys.path[:0] = [str(folder) for folder in FOLDERS if str(folder) not in sys.path]


@pytest.fixture
def quick_compiles():
    """Interpreted kernels are compiled once and run once: optimising them costs twice the time."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)
