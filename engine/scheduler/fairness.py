"""Equal shares for tenants that wait: virtual token counters.

"Fairness in Serving Large Language Models" (Sheng et al., OSDI 2024), algorithm 2. Each tenant has
a counter of the service it got; the waiting tenant with the smallest one goes next.

    a prompt starts          + PROMPT_WEIGHT for each of its tokens that is computed
    a token is generated     + OUTPUT_WEIGHT
    a tenant begins to wait  lifted to the smallest counter of those that wait already, or to that
                             of the last that did: being idle earns no credit

So of two tenants that always wait, neither gets ahead by more than what the slots hold at once,
however many requests one of them sends. Nobody is held back while nobody else waits, and what is
generated does not depend on the order.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping

from engine.scheduler.waiting import PrecedenceList, by_arrival
from engine.sequence import Sequence

PROMPT_WEIGHT = 1
OUTPUT_WEIGHT = 2
MAX_IDLE_TENANTS = 1024


class VirtualCounters:
    """Service of each tenant, in weighted tokens."""

    def __init__(self) -> None:
        self._service: dict[str, int] = {}
        self._last = 0

    def of(self, tenant: str) -> int:
        """The service a tenant has had, as far as it counts."""
        return self._service.get(tenant, 0)

    def __len__(self) -> int:
        """Tenants that are remembered."""
        return len(self._service)

    def charge_prompt(self, tenant: str, num_tokens: int) -> None:
        """A prompt of the tenant starts; so many of its tokens are computed."""
        self._service[tenant] = self.of(tenant) + PROMPT_WEIGHT * num_tokens

    def charge_output(self, tenant: str) -> None:
        """The tenant has one generated token more."""
        self._service[tenant] = self._service.get(tenant, 0) + OUTPUT_WEIGHT

    def begin_to_wait(self, tenant: str, waiting: Mapping[str, PrecedenceList]) -> None:
        """Lift a tenant whose queue was empty; `waiting` are the queues of the others."""
        floor = min(map(self.of, waiting), default=self._last)
        self._service[tenant] = max(self.of(tenant), floor)

    def end_to_wait(self, tenant: str, waiting: Mapping[str, PrecedenceList]) -> None:
        """The tenant's queue is empty again. Idle ones that would be lifted anyway are dropped."""
        self._last = max(self._last, self.of(tenant))
        if len(self._service) > MAX_IDLE_TENANTS + len(waiting):
            self._service = {
                name: service
                for name, service in self._service.items()
                if service > self._last or name in waiting
            }


class FairQueues:
    """Sequences that wait, a queue for each tenant.

    Sequences that had begun and were preempted come before all others of their priority, as they
    have been charged already and a client reads what they give.
    """

    def __init__(self, counters: VirtualCounters, *, use_priority: bool) -> None:
        self._counters = counters
        self._use_priority = use_priority
        self._precedence = by_arrival(use_priority=use_priority)
        self._queues: dict[str, PrecedenceList] = {}

    def add(self, sequence: Sequence) -> None:
        """Put it into its tenant's queue, by precedence."""
        tenant = sequence.request.tenant
        queue = self._queues.get(tenant)
        if queue is None:
            self._counters.begin_to_wait(tenant, self._queues)
            queue = self._queues[tenant] = PrecedenceList(self._precedence)
        queue.add(sequence)

    def remove(self, sequence: Sequence) -> None:
        """Take it out; it must be in."""
        tenant = sequence.request.tenant
        queue = self._queues[tenant]
        queue.remove(sequence)
        if not len(queue):
            del self._queues[tenant]
            self._counters.end_to_wait(tenant, self._queues)

    def in_order(self) -> list[Sequence]:
        """All, in no order that matters."""
        return [sequence for queue in self._queues.values() for sequence in queue.in_order()]

    def in_fair_order(self) -> Iterator[Sequence]:
        """Who may start next, each decided when it is asked for, by the counters of that moment.
        Sequences may come and go meanwhile; those that come are not seen."""
        heads: list[tuple[tuple[int, bool, int, int], Sequence, Iterator[Sequence]]] = []
        for queue in self._queues.values():
            self._push(heads, iter(queue.in_order()))
        while heads:
            _, sequence, rest = heapq.heappop(heads)
            yield sequence
            self._push(heads, rest)

    def _push(
        self,
        heads: list[tuple[tuple[int, bool, int, int], Sequence, Iterator[Sequence]]],
        rest: Iterator[Sequence],
    ) -> None:
        sequence = next(rest, None)
        if sequence is not None:
            heapq.heappush(heads, (self._rank(sequence), sequence, rest))

    def _rank(self, sequence: Sequence) -> tuple[int, bool, int, int]:
        """Smaller starts earlier; no two are equal, for the last part is unique."""
        request = sequence.request
        is_new = not sequence.start_index
        return (
            request.priority if self._use_priority else 0,
            is_new,
            self._counters.of(request.tenant) if is_new else 0,
            sequence.arrival_index if is_new else sequence.start_index,
        )

    def __len__(self) -> int:
        return sum(map(len, self._queues.values()))

    def check(self) -> None:
        """Assert that every queue is in order, holds its tenant's sequences, and is not empty."""
        for tenant, queue in self._queues.items():
            queue.check()
            assert len(queue)
            assert all(each.request.tenant == tenant for each in queue.in_order())
