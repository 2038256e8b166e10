"""How many lines of batches may be under way: enough to fill the engine, few beside live traffic.

Places are shared by all batches of the process. The engine does lines when no request of a client
wants it (`GenerateRequest.can_wait`). So that they cost those requests no time before and after it
either, only `NUM_BESIDE_LIVE` lines may begin while one is there, or was a moment ago.
"""

from __future__ import annotations

import asyncio

from api.context import ServerState

NUM_BESIDE_LIVE = 1
LOOK_S = 0.05
QUIET_S = 1.0


class LiveFirst:
    """Places for lines."""

    def __init__(self, state: ServerState) -> None:
        assert state.context is not None
        self._admission = state.admission
        self._max_num = 2 * state.context.engine.info.max_num_seqs
        self._num_under_way = 0
        self._left = asyncio.Event()

    async def enter(self) -> None:
        """Wait for a place."""
        while self._num_under_way >= self._num_places():
            self._left.clear()
            try:
                async with asyncio.timeout(LOOK_S if self._is_beside_live else None):
                    await self._left.wait()
            except TimeoutError:
                continue
        self._num_under_way += 1

    def leave(self) -> None:
        """Give a place back."""
        self._num_under_way -= 1
        self._left.set()

    @property
    def _is_beside_live(self) -> bool:
        return self._admission.idle_s < QUIET_S

    def _num_places(self) -> int:
        return NUM_BESIDE_LIVE if self._is_beside_live else self._max_num
