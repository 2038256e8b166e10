"""How many requests and tokens a key may have in a minute, in this process.

Each is a bucket that holds a minute's worth and fills continuously. A request is let in while both
have something left. Tokens are taken when they are used, not when they are asked for: no answer is
cut by a limit, and what running answers take beyond it is waited for before the next is let in.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from api.errors import APIError, retry_headers
from api.keys.tenant import Tenant

MINUTE_S = 60.0
UNITS = {"requests": "RPM", "tokens": "TPM"}

Headers = list[tuple[bytes, bytes]]


class Bucket:
    """What is left of one limit. May fall below nothing; then it fills up from there."""

    def __init__(self, per_minute: int, clock: Callable[[], float]) -> None:
        self.per_minute = per_minute
        self._clock = clock
        self._level = float(per_minute)
        self._filled_s = clock()

    def take(self, amount: int) -> None:
        """Use some."""
        self._level = self.level - amount
        self._filled_s = self._clock()

    @property
    def level(self) -> float:
        """What is left now; below 0 after an overdraft."""
        elapsed_s = max(0.0, self._clock() - self._filled_s)
        filled = self._level + elapsed_s * self.per_minute / MINUTE_S
        return min(float(self.per_minute), filled)

    @property
    def remaining(self) -> int:
        """Whole units that are left."""
        return max(0, int(self.level))

    @property
    def reset_s(self) -> float:
        """Seconds until it is full."""
        return (self.per_minute - self.level) * MINUTE_S / self.per_minute

    @property
    def wait_s(self) -> float:
        """Seconds until one unit is there; 0 if one is."""
        return max(0.0, 1.0 - self.level) * MINUTE_S / self.per_minute


class Quota:
    """The limits of one key."""

    def __init__(self, requests: Bucket, tokens: Bucket) -> None:
        self.requests = requests
        self.tokens = tokens

    def admit(self) -> None:
        """`verify`, then `count`."""
        self.verify()
        self.count()

    def verify(self) -> None:
        """Raise APIError 429 when either limit is used up."""
        for name, bucket in (("requests", self.requests), ("tokens", self.tokens)):
            if bucket.wait_s > 0:
                raise _exceeded(name, bucket)

    def count(self) -> None:
        """Count a request."""
        self.requests.take(1)

    def headers(self) -> Headers:
        """OpenAI's six."""
        return [
            header
            for name, bucket in ((b"requests", self.requests), (b"tokens", self.tokens))
            for header in (
                (b"x-ratelimit-limit-" + name, b"%d" % bucket.per_minute),
                (b"x-ratelimit-remaining-" + name, b"%d" % bucket.remaining),
                (b"x-ratelimit-reset-" + name, duration(bucket.reset_s).encode("ascii")),
            )
        ]


class Quotas:
    """The quota of every key that was seen. There are as many as keys, so none is forgotten."""

    def __init__(
        self,
        requests_per_minute: int,
        tokens_per_minute: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """The arguments are for keys that have no limits of their own."""
        self._default_requests = requests_per_minute
        self._default_tokens = tokens_per_minute
        self._clock = clock
        self._quotas: dict[str, Quota] = {}

    def of(self, tenant: Tenant) -> Quota:
        """The quota of the tenant's key."""
        quota = self._quotas.get(tenant.key_id)
        if quota is None:
            quota = self._quotas[tenant.key_id] = Quota(
                Bucket(tenant.requests_per_minute or self._default_requests, self._clock),
                Bucket(tenant.tokens_per_minute or self._default_tokens, self._clock),
            )
        return quota


def duration(time_s: float) -> str:
    """A time as OpenAI writes it: `12ms`, `1.5s`, `6m0s`."""
    if time_s < 1:
        return f"{round(time_s * 1000)}ms"
    if time_s < MINUTE_S:
        return f"{time_s:.3f}".rstrip("0").rstrip(".") + "s"
    minutes, seconds = divmod(round(time_s), 60)
    return f"{minutes}m{seconds}s"


def _exceeded(name: str, bucket: Bucket) -> APIError:
    wait_s = bucket.wait_s
    return APIError(
        f"Rate limit reached for this key on {name} per min ({UNITS[name]}): "
        f"Limit {bucket.per_minute}. Please try again in {duration(wait_s)}.",
        status=429,
        type=name,
        code="rate_limit_exceeded",
        headers=retry_headers(wait_s),
    )
