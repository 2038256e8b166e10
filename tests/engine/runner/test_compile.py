"""The persistent cache is private, survives damage, and tells variants apart."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import jax
import pytest

from engine.errors import SetupError
from engine.runner.buckets import Variant
from engine.runner.compile import COMPILE_EVENT, CompilationCounter, use_compile_cache
from engine.runner.executables import compile_step

ROOT = Path(__file__).resolve().parents[3]
START = """
import sys, jax
from engine.config import EngineConfig
from engine.runner.build import make_runner
events = []
jax.monitoring.register_event_listener(lambda event, **_: events.append(event))
make_runner(EngineConfig(model=sys.argv[1], compile_cache_dir=sys.argv[2],
    max_num_seqs=16, max_num_batched_tokens=64, block_size=8, max_logprobs=5))
print(events.count("/jax/compilation_cache/cache_hits"),
      events.count("/jax/compilation_cache/cache_misses"))
"""


def start(model_folder: Path, cache: Path) -> tuple[int, int]:
    """Cache hits and misses of a fresh process that makes the tests' runner."""
    output = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", START, str(model_folder), str(cache)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    hits, misses = output.split()
    return int(hits), int(misses)


def test_a_second_start_compiles_nothing(ready, model_folder: Path, cache_folder: Path) -> None:
    hits, misses = start(model_folder, cache_folder)
    assert hits > 0
    assert misses == 0


def test_a_damaged_cache_only_costs_time(
    ready, model_folder: Path, cache_folder: Path, tmp_path: Path
) -> None:
    damaged = tmp_path / "cache"
    for file in cache_folder.rglob("*-cache"):
        copy = damaged / file.relative_to(cache_folder)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    _, misses = start(model_folder, damaged)
    assert misses > 0


def test_every_executable_has_a_cache_entry_of_its_own(ready, cache_folder: Path) -> None:
    names = {file.name.rsplit("-", 2)[0] for file in cache_folder.rglob("*-cache")}
    steps = {name for name in names if name.startswith("jit_step_")}
    assert len(steps) >= len(ready.runner.buckets)


@pytest.fixture
def configured_cache():
    """jax's own setting, put back afterwards."""
    before = jax.config.jax_compilation_cache_dir
    yield
    jax.config.update("jax_compilation_cache_dir", before)


@pytest.mark.usefixtures("configured_cache")
def test_the_cache_folder_is_made_for_us_alone(tmp_path: Path) -> None:
    path = use_compile_cache(str(tmp_path / "new"))
    assert path.stat().st_mode & 0o077 == 0


@pytest.mark.usefixtures("configured_cache")
def test_a_folder_that_others_can_write_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(SetupError, match="--compile-cache-dir"):
        use_compile_cache(str(folder))


@pytest.mark.usefixtures("configured_cache")
def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SetupError, match="--compile-cache-dir"):
        use_compile_cache(str(tmp_path / "file" / "below"))


def test_only_what_is_compiled_outside_a_plan_is_counted() -> None:
    counter = CompilationCounter()
    counter.start()

    def compile_something() -> None:
        jax.monitoring.record_event_duration_secs(COMPILE_EVENT, 0.1)

    with counter.planned():
        with counter.planned():
            compile_something()
        compile_something()
    assert counter.num_unplanned == 0
    compile_something()
    assert counter.num_unplanned == 1
    counter.stop()


def test_temporaries_do_not_grow_with_the_pool(ready) -> None:
    program = ready.runner.program
    bucket = next(b for b in ready.runner.buckets if b.is_decode and b.variant is Variant.GREEDY)
    small, large = (
        compile_step(program, bucket, num_pages).temporary_bytes for num_pages in (20, 20_000)
    )
    assert small == large
