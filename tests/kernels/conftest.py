"""These tests need the compilers of `make test-kernels`; other environments skip the folder."""

from __future__ import annotations

import importlib.util

HAS_COMPILERS = importlib.util.find_spec("jax_cuda12_plugin") is not None
collect_ignore_glob = [] if HAS_COMPILERS else ["*"]
