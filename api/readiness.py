"""Ready means ready: the device has just finished a step, or does when asked."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from api.errors import APIError, unavailable
from engine.errors import EngineDiedError

if TYPE_CHECKING:
    from api.context import ServerState

PROBE_TIMEOUT_S = 5.0
ANSWER_VALID_S = 1.0


class Readiness:
    """Asks the engine for proof of life, once for all who ask within a second."""

    def __init__(self, state: ServerState) -> None:
        self._state = state
        self._probe: asyncio.Task[float] | None = None
        self._answered_s = 0.0

    @classmethod
    def of(cls, state: ServerState) -> Readiness:
        """The one of this server."""
        if state.readiness is None:
            state.readiness = cls(state)
        return state.readiness

    async def verify(self) -> None:
        """Return if requests can be served now.

        Raises:
            APIError: 503 with retry-after while loading, and when the engine hangs or is gone.
        """
        engine = self._state.engine
        if self._state.context is None or engine is None or not engine.is_ready:
            raise unavailable("The model is still loading.", "model_loading", retry_after_s=2.0)
        try:
            step_age_s = await asyncio.shield(self._current_probe())
        except (TimeoutError, EngineDiedError):
            raise _not_ready() from None
        if step_age_s > self._state.settings.ready_step_age_s:
            raise _not_ready()

    def _current_probe(self) -> asyncio.Task[float]:
        """The probe under way, or one that was answered within the last second, or a new one."""
        is_old = time.monotonic() - self._answered_s > ANSWER_VALID_S
        if self._probe is None or (self._probe.done() and is_old):
            self._probe = asyncio.create_task(self._ask())
        return self._probe

    async def _ask(self) -> float:
        engine = self._state.engine
        assert engine is not None
        try:
            return await asyncio.wait_for(engine.probe(PROBE_TIMEOUT_S), PROBE_TIMEOUT_S)
        finally:
            self._answered_s = time.monotonic()


def _not_ready() -> APIError:
    return unavailable("The engine does not answer.", "engine_unavailable", retry_after_s=5.0)
