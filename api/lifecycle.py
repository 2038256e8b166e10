"""From SIGTERM to exit: tell newcomers 503, let streams finish, then let go.

Hypercorn's own drain closes the listening sockets first, so that newcomers hang, and cuts
streams after three seconds. Here the listening goes on while streams finish, and Hypercorn is
told to stop only when nothing is in flight.

    first signal    drain for up to --shutdown-timeout seconds; jobs are handed over meanwhile
    second signal   stop now
    failed start    stop now; whoever waits has been told by then
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable

from api.limits import Admission

LAST_WORDS_S = 2.0
SIGNALS = (signal.SIGTERM, signal.SIGINT)

log = logging.getLogger("servax")


async def nothing() -> None:
    """Nothing else is to be done."""


class Lifecycle:
    """Decides when the server may stop; `wait` is Hypercorn's shutdown trigger."""

    def __init__(
        self,
        admission: Admission,
        shutdown_timeout_s: float,
        hand_over: Callable[[], Awaitable[None]] = nothing,
    ) -> None:
        """`hand_over` is what else is done while streams finish; it has a time limit of its own."""
        self._hand_over = hand_over
        self._admission = admission
        self._shutdown_timeout_s = shutdown_timeout_s
        self._asked = asyncio.Event()
        self._forced = asyncio.Event()

    @property
    def is_stopping(self) -> bool:
        """Whether the server was asked to stop."""
        return self._asked.is_set()

    def install_signal_handlers(self) -> None:
        """Take SIGTERM and SIGINT of this process."""
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            loop.add_signal_handler(number, self.ask_to_stop)

    def ask_to_stop(self) -> None:
        """As a signal does: the first time drain, the second time stop now."""
        if self._asked.is_set():
            self._forced.set()
        self._admission.start_draining()
        self._asked.set()

    def stop_now(self) -> None:
        """Stop without waiting for anybody."""
        self._forced.set()
        self._admission.start_draining()
        self._asked.set()

    async def wait(self) -> None:
        """Return when the server may stop: asked to, and drained, timed out or forced."""
        await self._asked.wait()
        if self._forced.is_set():
            return
        num_in_flight = self._admission.num_in_flight
        log.info(
            "shutting down: %d requests may take up to %g s",
            num_in_flight,
            self._shutdown_timeout_s,
        )
        await self._until_idle_or_forced(self._shutdown_timeout_s)

    async def finish(self, close_engine: Callable[[], Awaitable[None]]) -> None:
        """Close the engine, which ends streams that are left with an error event; let it out."""
        if self._admission.num_in_flight > 0:
            log.warning("ending %d requests that did not finish", self._admission.num_in_flight)
        await close_engine()
        await self._admission.wait_until_idle(LAST_WORDS_S)

    async def _until_idle_or_forced(self, timeout_s: float) -> None:
        idle = asyncio.ensure_future(
            asyncio.gather(self._admission.wait_until_idle(timeout_s), self._hand_over())
        )
        forced = asyncio.ensure_future(self._forced.wait())
        await asyncio.wait({idle, forced}, return_when=asyncio.FIRST_COMPLETED)
        for task in (idle, forced):
            task.cancel()
        await asyncio.gather(idle, forced, return_exceptions=True)
