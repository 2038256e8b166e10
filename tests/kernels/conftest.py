"""These tests need the compilers of `make test-kernels`; other environments skip the folder.

Helpers of these tests are modules beside them; tests have no packages to import them from.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

HAS_COMPILERS = importlib.util.find_spec("jax_cuda12_plugin") is not None
collect_ignore_glob = [] if HAS_COMPILERS else ["*"]

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / name) for name in ("gpu", "tpu", "")]
