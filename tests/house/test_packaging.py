"""The wheel and the sdist hold what they should, install, and import cleanly."""

from __future__ import annotations

import pathlib
import subprocess
import sys
import tarfile
import zipfile

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PACKAGES = {"engine", "models", "api", "pallas_kernels"}


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    return out


@pytest.fixture(scope="module")
def wheel(dist: pathlib.Path) -> pathlib.Path:
    return next(dist.glob("*.whl"))


def test_the_wheel_holds_the_four_packages_and_nothing_else(wheel: pathlib.Path) -> None:
    tops = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == PACKAGES


def test_the_wheel_holds_the_embedded_model_and_the_page(wheel: pathlib.Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert any(name.endswith("embedded/servax-tiny/model.safetensors") for name in names)
    assert any(name.startswith("api/web/") and name.endswith(".html") for name in names)


def test_the_wheel_requires_neither_torch_nor_tensorflow(wheel: pathlib.Path) -> None:
    archive = zipfile.ZipFile(wheel)
    metadata = next(name for name in archive.namelist() if name.endswith("METADATA"))
    requires = [
        line
        for line in archive.read(metadata).decode().splitlines()
        if line.startswith("Requires-Dist:") and "extra ==" not in line
    ]
    assert requires
    assert not any("torch" in line or "tensorflow" in line for line in requires)


def test_the_sdist_can_be_tested_from(dist: pathlib.Path) -> None:
    with tarfile.open(next(dist.glob("*.tar.gz"))) as archive:
        names = archive.getnames()
    for part in ("/tests/conftest.py", "/Makefile", "/requirements.lock", "/README.md", "/LICENSE"):
        assert any(name.endswith(part) for name in names), part


def test_the_installed_wheel_imports_and_answers_version(
    wheel: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    target = tmp_path / "site"
    install = ["-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target"]
    subprocess.run([sys.executable, *install, str(target), str(wheel)], check=True)
    code = (
        f"import sys; sys.path.insert(0, {str(target)!r})\n"
        "import engine, models, api, pallas_kernels\n"
        f"assert engine.__file__.startswith({str(target)!r}), engine.__file__\n"
        "from api.cli import main\n"
        "sys.argv = ['servax', '--version']\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "0.1.0" in done.stdout
