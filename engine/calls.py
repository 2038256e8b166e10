"""Questions to an engine that wait for their answer."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable


class Calls:
    """Answers are matched by number; 0 is never given out."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[float]] = {}

    async def ask(self, send: Callable[[int], None], timeout_s: float | None) -> float:
        """Send a question under a new number and wait for `answer`; None = however long it takes.

        Raises:
            TimeoutError: no answer within `timeout_s` seconds.
            Exception: what `fail` or `fail_all` was given.
        """
        number = next(self._numbers)
        self._waiting[number] = asyncio.get_running_loop().create_future()
        send(number)
        try:
            return await asyncio.wait_for(self._waiting[number], timeout_s)
        finally:
            del self._waiting[number]

    def answer(self, number: int, value: float) -> None:
        """Give an answer; late ones are dropped."""
        call = self._waiting.get(number)
        if call is not None and not call.done():
            call.set_result(value)

    def fail(self, number: int, error: Exception) -> None:
        """One question will not be answered; late failures are dropped."""
        call = self._waiting.get(number)
        if call is not None and not call.done():
            call.set_exception(error)

    def fail_all(self, error: Exception) -> None:
        """Nobody will answer any more."""
        for call in self._waiting.values():
            if not call.done():
                call.set_exception(error)
