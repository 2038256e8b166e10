"""GET /server_info: what this server was told and runs on, without its secrets."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import os
import platform
import re
import sys
from collections.abc import Mapping
from typing import Any

import msgspec

from api.context import ServerState
from api.version import server_version

SHOWN_VARIABLES = ("SERVAX_", "VLLM_", "JAX_", "XLA_", "LIBTPU_", "CUDA_VISIBLE_DEVICES")
SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|CREDENTIAL|AUTH", re.IGNORECASE)
PACKAGES = ("jax", "jaxlib", "flax", "numpy", "quart", "hypercorn", "tokenizers", "transformers")
HIDDEN_FIELDS = frozenset({"api_keys", "database_url", "blob_url"})


def server_info(state: ServerState, *, is_text: bool, environment: Mapping[str, str]) -> Any:
    """The answer; the engine's part is there once the engine is."""
    config = {"server": _settings(state), "engine": _engine(state)}
    return {
        "vllm_config": _as_text(config) if is_text else config,
        "vllm_env": shown_variables(environment),
        "system_env": _system(state),
    }


def shown_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Variables that matter here; of those that hold secrets only that they are set."""
    return {
        name: "***" if SECRET.search(name) else value
        for name, value in sorted(environment.items())
        if name.startswith(SHOWN_VARIABLES)
    }


def _settings(state: ServerState) -> dict[str, Any]:
    values = dataclasses.asdict(state.settings)
    return {name: value for name, value in values.items() if name not in HIDDEN_FIELDS}


def _engine(state: ServerState) -> dict[str, Any]:
    return msgspec.to_builtins(state.config) if state.config is not None else {}


def _as_text(config: Mapping[str, Mapping[str, Any]]) -> str:
    return ", ".join(
        f"{name}={value!r}" for part in config.values() for name, value in part.items()
    )


def _system(state: ServerState) -> dict[str, Any]:
    model = state.context.engine.info if state.context is not None else None
    return {
        "servax": server_version(),
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "num_cpus": os.cpu_count(),
        "packages": {name: _version(name) for name in PACKAGES},
        "model": msgspec.to_builtins(model) if model is not None else None,
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
