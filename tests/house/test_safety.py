"""What never appears in the source: unpickling, evaluation, remote code (promise 9)."""

from __future__ import annotations

import ast
import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
SHIPPED = ("engine", "models", "api", "pallas_kernels")
FORBIDDEN_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "torch"}
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__"}


def files() -> list[pathlib.Path]:
    return [file for package in SHIPPED for file in sorted((ROOT / package).rglob("*.py"))]


def test_nothing_shipped_imports_pickle_or_torch() -> None:
    for file in files():
        for node in ast.walk(ast.parse(file.read_text())):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            bad = {name for name in names if name.split(".")[0] in FORBIDDEN_MODULES}
            assert not bad, f"{file.relative_to(ROOT)} imports {bad}"


def test_nothing_shipped_evaluates_text_as_code() -> None:
    for file in files():
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in FORBIDDEN_CALLS, (
                    f"{file.relative_to(ROOT)}:{node.lineno}"
                )


def test_trust_remote_code_is_never_switched_on() -> None:
    for file in files():
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.keyword) and node.arg == "trust_remote_code":
                value = node.value
                assert isinstance(value, ast.Constant), file
                assert value.value is False, file
