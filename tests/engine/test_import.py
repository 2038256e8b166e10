from __future__ import annotations

import subprocess
import sys

import pytest

import engine


def test_a_foreign_package_of_our_names_is_named(tmp_path):
    foreign = tmp_path / "models"
    foreign.mkdir()
    (foreign / "__init__.py").write_text("")
    script = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import engine"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode != 0
    assert f"another package called `models` shadows servax's own: Python finds {foreign}" in (
        done.stderr
    )


def test_importing_engine_imports_neither_jax_nor_its_neighbours():
    script = "import engine, sys; print({'jax', 'models', 'api', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stderr


def test_unknown_attributes_are_unknown():
    with pytest.raises(AttributeError):
        engine.nothing  # noqa: B018
