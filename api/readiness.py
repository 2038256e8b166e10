"""Ready means ready: the device has just finished a step, or does when asked."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from api.errors import APIError, unavailable
from engine.errors import EngineDiedError

if TYPE_CHECKING:
    from engine.client_protocol import GenerationEngine

PROBE_TIMEOUT_S = 5.0
ANSWER_VALID_S = 1.0


class Readiness:
    """Asks an engine for proof of life, once for all who ask within a second."""

    def __init__(self) -> None:
        self._probe: asyncio.Task[float] | None = None
        self._answered_s = 0.0

    async def verify(self, engine: GenerationEngine | None, max_step_age_s: float) -> None:
        """Return if requests can be served now.

        `max_step_age_s` is how long ago the last step may have ended, in seconds.

        Raises:
            APIError: 503 with retry-after while loading, while the engine is paused or asleep, and
                when it hangs or is gone.
        """
        if engine is None:
            raise unavailable("The model is still loading.", "model_loading", retry_after_s=2.0)
        if not engine.is_ready:
            raise _not_ready()
        if engine.suspension.is_paused:
            raise unavailable("The engine is paused.", "engine_suspended", retry_after_s=5.0)
        try:
            step_age_s = await asyncio.shield(self._current_probe(engine))
        except (TimeoutError, EngineDiedError):
            raise _not_ready() from None
        if step_age_s > max_step_age_s:
            raise _not_ready()

    def _current_probe(self, engine: GenerationEngine) -> asyncio.Task[float]:
        """The probe under way, or one that was answered within the last second, or a new one."""
        is_old = time.monotonic() - self._answered_s > ANSWER_VALID_S
        if self._probe is None or (self._probe.done() and is_old):
            self._probe = asyncio.create_task(self._ask(engine))
        return self._probe

    async def _ask(self, engine: GenerationEngine) -> float:
        try:
            return await asyncio.wait_for(engine.probe(PROBE_TIMEOUT_S), PROBE_TIMEOUT_S)
        finally:
            self._answered_s = time.monotonic()


def _not_ready() -> APIError:
    return unavailable("The engine does not answer.", "engine_unavailable", retry_after_s=5.0)
