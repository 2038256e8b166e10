"""The model of these tests thinks, speaks and calls a tool; all it makes is stored."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.services.responses.stored.background_world import EVERYTHING


@pytest.fixture
def asker(asking: Any, storage: Any) -> Any:
    made = asking(EVERYTHING)
    made.storage, made.store = storage, True
    return made
