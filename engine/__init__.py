"""The engine: it schedules sequences, runs the model on the device, and gives tokens back.

    errors, config, request → kv_cache, text → scheduler, sampling, weights → runner → core → client

`engine.LLM` is the offline door; `engine.client.EngineClient` is the one the API uses. Importing
`engine` imports no jax.
"""

from __future__ import annotations

import importlib.util
import pathlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.llm import LLM

__all__ = ["LLM"]


def _verify_neighbours() -> None:
    """Refuse to run beside a foreign package called `models` or `api`; both names are common."""
    home = pathlib.Path(__file__).resolve().parent.parent
    for name in ("models", "api"):
        spec = importlib.util.find_spec(name)
        places = list(spec.submodule_search_locations or [spec.origin or ""]) if spec else []
        if not places:
            raise ImportError(f"servax is incomplete: no package `{name}` beside {home / 'engine'}")
        if home / name not in [pathlib.Path(place).resolve() for place in places]:
            raise ImportError(
                f"another package called `{name}` shadows servax's own: Python finds {places[0]}, "
                f"servax needs {home / name}. Remove it from PYTHONPATH or the working folder."
            )


def __getattr__(name: str) -> object:
    """`LLM`, imported when first asked for."""
    if name == "LLM":
        from engine.llm import LLM

        return LLM
    raise AttributeError(f"module 'engine' has no attribute {name!r}")


_verify_neighbours()
