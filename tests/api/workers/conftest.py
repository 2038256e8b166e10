"""The speaking engine of the services behind workers with real storage."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

_PATH = Path(__file__).parent.parent / "services" / "conftest.py"


def _load_services_world() -> Any:
    spec = importlib.util.spec_from_file_location("services_world_of_workers", _PATH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def services_world() -> Any:
    return _load_services_world()
