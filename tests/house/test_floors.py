"""Who may import whom: pallas_kernels <- models <- engine <- api, and no cycles."""

from __future__ import annotations

import ast
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PACKAGES = ("pallas_kernels", "models", "engine", "api")

# floor -> top-level modules it must not import
FORBIDDEN = {
    "pallas_kernels": {"models", "engine", "api", "bench", "tests", "flax", "quart", "pydantic"},
    "models": {"engine", "api", "bench", "tests", "quart", "pydantic"},
    "engine": {"api", "bench", "tests", "quart", "pydantic"},
    "engine/scheduler": {"jax", "flax", "models", "pallas_kernels"},
    "engine/kv_cache": {"jax", "flax", "models", "pallas_kernels"},
    "engine/text": {"jax", "flax", "models", "pallas_kernels"},
    "engine/grammar": {"jax", "flax", "models", "pallas_kernels"},
    "api": {"jax", "jaxlib", "flax", "models", "pallas_kernels", "bench", "tests"},
    "api/protocol": {"quart", "hypercorn", "engine.client", "engine.core"},
}

# what an endpoint answers, and what says the same in another API's words
DIALECTS = ("api/services/anthropic", "api/services/responses")
ANSWERS = ("api/services/chat", "api/services/completions", "api/services/generate", *DIALECTS)

RESPONSES = "api/services/responses"
ROOMS_OF_RESPONSES = ("objects", "mcp", "request", "conversation", "events", "stored")
"""Each above those before it."""

# inside a floor: room -> rooms above it, which it must not import
ROOMS_ABOVE = {
    "api/flags": ("api/http", "api/keys", "api/services", "api/resources", "api/app"),
    "api/metrics": ("api/services", "api/resources", "api/app"),
    "api/keys": ("api/http", "api/services", "api/resources", "api/app", "api/cli"),
    "api/http": ("api/services", "api/resources", "api/app", "api/cli"),
    "api/protocol": ("api/services", "api/resources", "api/app", "api/cli"),
    "api/storage": ("api/services", "api/resources", "api/workers", "api/app", "api/cli"),
    "api/services": ("api/resources", "api/app", "api/cli", "api/serve"),
    "api/services/guidance": ("api/services/prompts", *ANSWERS),
    "api/services/prompts": ("api/services/generation", *ANSWERS),
    "api/services/generation": ANSWERS,
    "api/services/chat": (
        "api/services/render",
        "api/services/derender",
        "api/services/anthropic",
    ),
    "api/services/completions": ("api/services/chat", "api/services/render", *DIALECTS),
    **{
        f"{RESPONSES}/{room}": (
            *(f"{RESPONSES}/{above}" for above in ROOMS_OF_RESPONSES[index + 1 :]),
            *(f"{RESPONSES}/{endpoint}" for endpoint in ("service", "once", "socket", "holding")),
        )
        for index, room in enumerate(ROOMS_OF_RESPONSES)
    },
    "api/workers": ("api/resources", "api/app", "api/cli", "api/serve"),
    "api/resources": ("api/app", "api/cli", "api/serve"),
    "engine/scheduler": ("engine/runner", "engine/core", "engine/client", "engine/process"),
    "engine/kv_cache": ("engine/scheduler", "engine/runner", "engine/core", "engine/client"),
    "engine/text": ("engine/scheduler", "engine/runner", "engine/core", "engine/client"),
    "engine/grammar": ("engine/scheduler", "engine/runner", "engine/core", "engine/client"),
    "engine/sampling": ("engine/runner", "engine/core", "engine/client"),
    "engine/weights": ("engine/runner", "engine/core", "engine/client"),
    "engine/sharding": ("engine/runner", "engine/core", "engine/client"),
    "engine/runner": ("engine/core", "engine/client", "engine/process"),
    "engine/core": ("engine/client",),
}


def source_files(room: str) -> list[pathlib.Path]:
    path = ROOT / room
    return sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]


def imported_modules(file: pathlib.Path) -> set[str]:
    """Absolute names of everything a file imports, at any depth of its code."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative imports hide who imports whom"
            names.add(node.module or "")
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("room", FORBIDDEN)
def test_a_floor_imports_nothing_above_it(room: str) -> None:
    wrong = {
        str(file.relative_to(ROOT)): sorted(bad)
        for file in source_files(room)
        if (
            bad := {
                name
                for name in imported_modules(file)
                if any(name == word or name.startswith(word + ".") for word in FORBIDDEN[room])
                and not (name.startswith("models.embedded") and room == "api")
            }
        )
    }
    assert not wrong


@pytest.mark.parametrize("room", ROOMS_ABOVE)
def test_a_room_imports_no_room_above_it(room: str) -> None:
    above = tuple(name.replace("/", ".") for name in ROOMS_ABOVE[room])
    wrong = {
        str(file.relative_to(ROOT)): name
        for file in source_files(room)
        for name in imported_modules(file)
        if any(name == word or name.startswith(word + ".") for word in above)
    }
    assert not wrong


def module_name(file: pathlib.Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def import_graph() -> dict[str, set[str]]:
    """Top-of-file imports only: an import inside a function is how a cycle is avoided honestly."""
    files = [file for package in PACKAGES for file in source_files(package)]
    modules = {module_name(file) for file in files}
    graph: dict[str, set[str]] = {}
    for file in files:
        targets: set[str] = set()
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.Import):
                targets |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    full = f"{node.module}.{alias.name}"
                    targets.add(full if full in modules else node.module or "")
        graph[module_name(file)] = (targets & modules) - {module_name(file)}
    return graph


def test_no_module_imports_itself_through_others() -> None:
    graph = import_graph()
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join((*path[path.index(module) :], module))
        if module in done:
            return
        for target in sorted(graph.get(module, ())):
            visit(target, (*path, module))
        done.add(module)

    for module in graph:
        visit(module, ())


@pytest.mark.parametrize(
    "module", ["api.app", "api.cli", "engine", "engine.client", "engine.scheduler.scheduler"]
)
def test_importing_it_loads_no_jax(module: str) -> None:
    code = f"import sys, {module}; sys.exit('jax' in sys.modules or 'flax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
