"""These tests need the compilers of `make test-kernels`; other environments skip the folder.

Helpers of these tests are modules beside them; tests have no packages to import them from.
"""

from __future__ import annotations

import importlib.util
import sys
import threading
from pathlib import Path

import pytest

HAS_COMPILERS = importlib.util.find_spec("jax_cuda12_plugin") is not None
collect_ignore_glob = [] if HAS_COMPILERS else ["*"]

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / name) for name in ("gpu", "tpu", "")]


@pytest.fixture
def quick_compiles():
    """Interpreted kernels are compiled once and run once: optimising them costs twice the time."""
    import jax

    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(autouse=True, scope="session")
def interpreted_kernels_compile_once():
    """The interpreter compiles a kernel anew for every warpgroup of every block: once will do.

    Its threads are given one program and the number of each; only jax's own code knows that.
    """
    import jax
    from jax._src.pallas.mosaic.interpret import thread_map

    programs = {}
    lock = threading.Lock()

    def run(jaxpr, consts, *args):
        def evaluate(jaxpr, consts, *args):
            thread_map.jax_core.eval_jaxpr(jaxpr, consts, *args)

        with lock:  # the entry keeps the program alive, so that its id is not given away
            program = programs.setdefault(id(jaxpr), _Program(jaxpr))
        with program.lock:
            if program.executable is None:
                traced = jax.jit(evaluate, static_argnums=(0,)).trace(jaxpr, consts, *args)
                program.executable = traced.lower().compile()
        program.executable(consts, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(thread_map, "_run_jaxpr", run)
        yield


class _Program:
    def __init__(self, jaxpr):
        self.jaxpr, self.lock, self.executable = jaxpr, threading.Lock(), None
