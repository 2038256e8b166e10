"""Threads that compile grammars: a small one never waits for a large one, and tenants take turns.

    small lane   sources up to `SMALL_BYTES`, and what is compiled already     one thread
    large lane   the others                                                   one thread

The caps of `engine.grammar.compile` bound how long one grammar holds a lane, but a thousand of them
come one after the other. In each lane the tenant goes next that has used least of the thread since
the lane was last empty; a tenant's own go first come, first served.
"""

from __future__ import annotations

import collections
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

T = TypeVar("T")

SMALL_BYTES = 16 * 1024


class Job(Generic[T]):
    """Work in a lane.

    Attributes:
        begun: done when the work begins.
        result: of the work; cancelled before it begins, it is never done.
    """

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self.begun: Future[None] = Future()
        self.result: Future[T] = Future()

    @classmethod
    def done(cls, value: T) -> Job[T]:
        """One that nobody has to wait for."""
        job = cls(lambda: value)
        job.run()
        return job

    def run(self) -> None:
        """Do it, in the lane's thread."""
        if not self.result.set_running_or_notify_cancel():
            return
        if self.begun.set_running_or_notify_cancel():
            self.begun.set_result(None)
        try:
            self.result.set_result(self._work())
        except Exception as error:  # it is told to whoever waits for it
            self.result.set_exception(error)


class Lane:
    """One thread, which begins with the first job. Any thread may submit."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._changed = threading.Condition()
        self._waiting: dict[str, collections.deque[Job[object]]] = {}
        self._used_s: dict[str, float] = {}
        self._has_thread = False

    def submit(self, tenant: str, work: Callable[[], T]) -> Job[T]:
        """Have `work` done when it is the tenant's turn."""
        job = Job(work)
        with self._changed:
            if tenant not in self._waiting:  # being idle earns no credit
                floor_s = min((self._used_s[each] for each in self._waiting), default=0.0)
                self._used_s[tenant] = max(self._used_s.get(tenant, 0.0), floor_s)
            self._waiting.setdefault(tenant, collections.deque()).append(job)  # pyright: ignore[reportArgumentType]
            if not self._has_thread:
                self._has_thread = True
                threading.Thread(target=self._serve, name=self._name, daemon=True).start()
            self._changed.notify()
        return job

    def _serve(self) -> None:
        while True:
            tenant, job = self._take()
            begun_s = time.monotonic()
            job.run()
            with self._changed:
                self._used_s[tenant] = self._used_s.get(tenant, 0.0) + time.monotonic() - begun_s

    def _take(self) -> tuple[str, Job[object]]:
        with self._changed:
            while not self._waiting:
                self._used_s.clear()
                self._changed.wait()
            tenant = min(self._waiting, key=self._used_s.__getitem__)
            queue = self._waiting[tenant]
            job = queue.popleft()
            if not queue:
                del self._waiting[tenant]
            return tenant, job


class Lanes:
    """A lane for small sources and one for large ones."""

    def __init__(self, name: str) -> None:
        self._small, self._large = Lane(f"{name}-small"), Lane(f"{name}-large")

    def submit(self, tenant: str, num_bytes: int, work: Callable[[], T]) -> Job[T]:
        """Have `work` done in the lane of sources of this size; 0 if it is compiled already."""
        lane = self._small if num_bytes <= SMALL_BYTES else self._large
        return lane.submit(tenant, work)
