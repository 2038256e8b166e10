"""The same speaking engine as for the services, behind the real application."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from quart.typing import TestClientProtocol

from api.app import create_app, state_of

_PATH = Path(__file__).parent.parent / "services" / "conftest.py"


def _load_services_world() -> Any:
    spec = importlib.util.spec_from_file_location("services_world", _PATH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def services_world() -> Any:
    return _load_services_world()


@pytest.fixture
def speaker(services_world: Any) -> Any:
    return services_world.make_speaker("hello world")


@pytest.fixture
def client(speaker: Any) -> TestClientProtocol:
    return create_app(speaker.context).test_client()


@pytest.fixture
def storing_speaker(services_world: Any) -> Any:
    """Of `storing_client`: its model ends its answers."""
    speaker = services_world.make_speaker("hello world")
    speaker.engine.info = msgspec.structs.replace(speaker.engine.info, max_model_len=1024)
    speaker.engine.ends_with_eos = True
    return speaker


@pytest.fixture
def storing_client(storing_speaker: Any, storage: Any) -> Any:
    """Of an application with storage."""
    state = state_of(storing_speaker.context)
    state.storage = storage
    return create_app(state).test_client()
