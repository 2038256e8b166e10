"""What each engine request used, counted once for its key's limit and once for the ledger.

    RequestTracker ──tokens as they are given──► Account ──► Quota (what is left of the minute)
                                                    └─close─► Ledger ──one commit for many──► usage

An answer's end is given to the client only when its record is committed, so what a client was told
to have used is in the ledger whatever happens to the process afterwards. A database that does not
take records holds up nobody for longer than a moment; they are kept and tried again.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import dataclasses
import hashlib
import logging
import re
import time
from typing import Protocol

from api.keys.quotas import Quota, Quotas
from api.keys.tenant import Tenant
from api.settings import DEFAULT_REQUESTS_PER_MINUTE, DEFAULT_TOKENS_PER_MINUTE

MAX_SETTLE_S = 1.0
MAX_KEPT = 100_000
MAX_BATCH = 1_000
SANE_ID = re.compile(r"[A-Za-z0-9._:\-]{1,200}")

log = logging.getLogger("servax.access")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class UsageRecord:
    """One engine request that is over. Prompt tokens count once however many choices it had.

    Attributes:
        id: of the engine request: unique, so that writing it twice is the same as once.
        created_at: Unix time of its end, in seconds.
        outcome: how it ended: a finish reason of its first sequence, `rejected` or `error`.
    """

    id: str
    project_id: str
    key_id: str
    created_at: int
    model: str
    num_prompt_tokens: int
    num_cached_tokens: int
    num_generated_tokens: int
    outcome: str


class Account:
    """One engine request while it runs.

    Attributes:
        is_live: a client waits for it; one that leaves before the first token still had the
            engine compute its prompt.
    """

    def __init__(
        self, ledger: Ledger, quota: Quota | None, tenant: Tenant, request_id: str, model: str
    ) -> None:
        """Without a `quota` it counts in the ledger alone."""
        self.is_live = tenant.is_metered
        self._ledger = ledger
        self._quota = quota
        self._tenant = tenant
        self._request_id = request_id
        self._model = model
        self._prompt = self._cached = self._generated = 0
        self._is_closed = False

    def prompt(self, num_tokens: int) -> None:
        """The prompt's tokens, with the first thing its answer gains."""
        self._prompt += num_tokens
        self._take(num_tokens)

    def cached(self, num_tokens: int) -> None:
        """Of those, found in the prefix cache."""
        self._cached += num_tokens

    def generated(self, num_tokens: int) -> None:
        """Tokens that the client is given."""
        self._generated += num_tokens
        self._take(num_tokens)

    def close(self, outcome: str) -> None:
        """The request is over. Calling it again does nothing."""
        if self._is_closed:
            return
        self._is_closed = True
        self._ledger.add(
            UsageRecord(
                id=record_id(self._request_id),
                project_id=self._tenant.project_id,
                key_id=self._tenant.key_id,
                created_at=int(time.time()),
                model=self._model,
                num_prompt_tokens=self._prompt,
                num_cached_tokens=self._cached,
                num_generated_tokens=self._generated,
                outcome=outcome,
            )
        )

    def _take(self, num_tokens: int) -> None:
        if self._quota is not None:
            self._quota.tokens.take(num_tokens)

    async def settled(self) -> None:
        """Wait until what was closed is committed, but not for ever."""
        await self._ledger.settled()


def record_id(request_id: str) -> str:
    """The request's id where a database can hold it; clients choose a part of it."""
    if SANE_ID.fullmatch(request_id):
        return request_id
    return "sha256-" + hashlib.sha256(request_id.encode("utf-8", "surrogatepass")).hexdigest()


class UsageWriter(Protocol):
    """Writes records for good; a record that is there already stays as it is."""

    async def write(self, records: list[UsageRecord]) -> None:
        """Commit all or none. Raises StorageError."""
        ...


class Ledger:
    """Records on their way to the database; without one to come they are let go."""

    def __init__(self) -> None:
        self._waiting: collections.deque[UsageRecord] = collections.deque()
        self._has_news = asyncio.Event()
        self._tried = asyncio.Condition()
        self._num_added = 0
        self._num_written = 0
        self._writer: UsageWriter | None = None
        self._is_kept = False
        self._is_failing = False

    def expect(self) -> None:
        """A database will be attached; keep records until then."""
        self._is_kept = True

    def attach(self, writer: UsageWriter) -> None:
        """There is a database from now on."""
        self._is_kept = True
        self._writer = writer

    def add(self, record: UsageRecord) -> None:
        """Keep a record until it is written."""
        if not self._is_kept:
            return
        if len(self._waiting) >= MAX_KEPT:
            log.error("usage of %s is lost: the database takes no records", record.id)
            return
        self._num_added += 1
        self._waiting.append(record)
        self._has_news.set()

    async def settled(self) -> None:
        """Wait until all that was added is written, at most `MAX_SETTLE_S` seconds, and not at
        all for a database that is not there."""
        wanted = self._num_added
        if self._num_written >= wanted or self._writer is None or self._is_failing:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(MAX_SETTLE_S), self._tried:
                await self._tried.wait_for(lambda: self._num_written >= wanted or self._is_failing)

    async def wait(self, timeout_s: float) -> None:
        """Return when there is something to write, or after `timeout_s` seconds."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._has_news.wait(), timeout_s)

    async def flush(self) -> None:
        """Write what waits, oldest first. Raises StorageError; nothing is lost."""
        self._has_news.clear()
        while self._waiting and self._writer is not None:
            batch = [self._waiting[i] for i in range(min(MAX_BATCH, len(self._waiting)))]
            try:
                await self._writer.write(batch)
            except Exception:
                self._is_failing = True
                await self._tell()
                raise
            self._is_failing = False
            for _ in batch:
                self._waiting.popleft()
            self._num_written += len(batch)
            await self._tell()

    async def _tell(self) -> None:
        async with self._tried:
            self._tried.notify_all()


class Accounts:
    """All keys' accounts in this process."""

    def __init__(self, quotas: Quotas | None = None) -> None:
        self.quotas = quotas or Quotas(DEFAULT_REQUESTS_PER_MINUTE, DEFAULT_TOKENS_PER_MINUTE)
        self.ledger = Ledger()

    def open(self, tenant: Tenant, request_id: str, model: str) -> Account:
        """An account for an engine request of the tenant."""
        quota = self.quotas.of(tenant) if tenant.is_metered else None
        return Account(self.ledger, quota, tenant, request_id, model)
