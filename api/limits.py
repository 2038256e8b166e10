"""How much is in flight, how much may be, and the drain before the end.

The engine bounds its own queue exactly. This bound is the cheap one in front of it: it answers
before a body is read or a prompt is tokenized, so that a flood costs next to nothing.
"""

from __future__ import annotations

import asyncio
import time

from api.errors import APIError, overloaded, retry_headers, shutting_down
from api.http.access import RequestState
from api.settings import ServerSettings

PLACES_PER_FREE_PLACE = 2
QUEUE_FULL = "max_num_queued_reqs"


class Admission:
    """Counts exchanges and refuses new work beyond the bound or while draining.

    Attributes:
        num_in_flight: HTTP exchanges begun and not ended, of any route.
        num_working: those that were admitted to use the engine.
        max_num_running: slots of the engine, set when it is ready; None = not known yet.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self._max_num_queued = settings.max_num_queued_reqs
        self._shutdown_timeout_s = settings.shutdown_timeout_s
        self._working: dict[str, str | None] = {}
        self._changed = asyncio.Event()
        self._last_worked_s = float("-inf")
        self.num_in_flight = 0
        self.max_num_running: int | None = None
        self.is_draining = False

    @property
    def num_working(self) -> int:
        """Exchanges that were admitted to use the engine and have not ended."""
        return len(self._working)

    @property
    def idle_s(self) -> float:
        """Seconds since the last of them ended; 0 while there is one."""
        return 0.0 if self._working else time.monotonic() - self._last_worked_s

    def request_started(self, state: RequestState) -> None:
        """An exchange began."""
        self.num_in_flight += 1

    def request_ended(self, state: RequestState) -> None:
        """An exchange ended, in whatever way."""
        self.num_in_flight -= 1
        if _key(state) in self._working:
            del self._working[_key(state)]
            self._last_worked_s = time.monotonic()
        self._changed.set()

    def count(self, state: RequestState, key_id: str | None = None) -> None:
        """Count the exchange as work until it ends."""
        self._working[_key(state)] = key_id

    def verify(self, key_id: str | None = None) -> None:
        """Whether there is room for one more.

        Arguments:
            key_id: of the caller; None where all callers share one queue.

        Raises:
            APIError: 503 with retry-after when the server drains or its queue is full; 429 when
                the key has so much of the queue that others would find no place.
        """
        if self.is_draining:
            raise shutting_down(self._shutdown_timeout_s)
        if self.is_full():
            raise overloaded("The server is overloaded; try again shortly.")
        if key_id is not None and self._takes_too_much(key_id):
            raise APIError(
                "Too many requests of this key are running or waiting; try again shortly.",
                status=429,
                type="requests",
                code="rate_limit_exceeded",
                headers=retry_headers(1.0),
            )

    def is_full(self) -> bool:
        """Whether the slots and the queue behind them are taken."""
        if self._max_num_queued == 0 or self.max_num_running is None:
            return False
        return self.num_working >= self.max_num_running + self._max_num_queued

    def _takes_too_much(self, key_id: str) -> bool:
        """Whether the key has more than a multiple of the places that are still free. So however
        many keys flood, each as much as it may, a place is left for the next one."""
        if self._max_num_queued == 0 or self.max_num_running is None:
            return False
        num_places = self.max_num_running + self._max_num_queued
        num_mine = sum(owner == key_id for owner in self._working.values())
        return num_mine >= PLACES_PER_FREE_PLACE * (num_places - self.num_working)

    def start_draining(self) -> None:
        """From now on new work is refused."""
        self.is_draining = True

    async def wait_until_idle(self, timeout_s: float) -> bool:
        """Wait until nothing is in flight; False when that took more than `timeout_s` seconds."""
        try:
            async with asyncio.timeout(timeout_s):
                while self.num_in_flight > 0:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return False
        return True


def _key(state: RequestState) -> str:
    """Ids given by clients may repeat, so the record itself is the identity."""
    return f"{id(state):x}"
