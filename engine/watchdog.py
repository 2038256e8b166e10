"""When an engine counts as frozen, and how often a dead one is started again. Pure decisions."""

from __future__ import annotations

import collections
import dataclasses

MAX_DOUBLINGS = 30


class Watchdog:
    """Counts ticks without a sign of life.

    Ticks are counted, not seconds: a client that was itself stopped or busy has had no tick, and
    so does not take its own absence for the engine's.
    """

    def __init__(self, *, tick_s: float, timeout_s: float) -> None:
        self._timeout_ticks = max(2, round(timeout_s / tick_s))
        self._silent_ticks = 0

    def heard(self) -> None:
        """The engine said something."""
        self._silent_ticks = 0

    def tick(self) -> None:
        """A probe has been out for one tick more."""
        self._silent_ticks += 1

    @property
    def is_fresh(self) -> bool:
        """Whether the engine was heard recently enough to be given work (half the timeout)."""
        return self._silent_ticks <= self._timeout_ticks // 2

    @property
    def is_frozen(self) -> bool:
        """Whether the engine has been silent for the whole timeout."""
        return self._silent_ticks >= self._timeout_ticks


@dataclasses.dataclass(frozen=True, kw_only=True)
class RestartPolicy:
    """Waits grow from `first_delay_s` by doubling; `max_restarts` within `window_s` is the end."""

    max_restarts: int = 5
    window_s: float = 600.0
    first_delay_s: float = 0.25
    max_delay_s: float = 30.0


class Restarts:
    """Remembers restarts and says whether, and after how long, there may be another."""

    def __init__(self, policy: RestartPolicy) -> None:
        self._policy = policy
        self._times_s: collections.deque[float] = collections.deque()
        self.num_restarts = 0

    def next_delay_s(self, now_s: float) -> float | None:
        """Count a restart; seconds to wait before it, or None when there have been too many."""
        while self._times_s and self._times_s[0] < now_s - self._policy.window_s:
            self._times_s.popleft()
        if len(self._times_s) >= self._policy.max_restarts:
            return None
        delay_s = self._policy.first_delay_s * 2.0 ** min(len(self._times_s), MAX_DOUBLINGS)
        self._times_s.append(now_s)
        self.num_restarts += 1
        return min(delay_s, self._policy.max_delay_s)
