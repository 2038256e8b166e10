"""Who asks: the record that every row, cache page, limit and count of a request belongs to.

    no keys configured       one project for everybody, `proj_default`
    each key of --api-key    a project of its own, named by a hash of the key
    `servax keys create`     the project the key was made for

Resources ask `api.context.caller()` for it; services find it in `ServerContext.tenant`.
"""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Literal, get_args

Role = Literal["inference", "metrics", "operator"]

ROLES: frozenset[Role] = frozenset(get_args(Role))
DEFAULT_PROJECT = "proj_default"
DEFAULT_KEY = "key_default"
NUM_ID_DIGITS = 24


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """The caller of one request. Written by `api.keys.auth`, read by everybody.

    Attributes:
        project_id: `proj_…`; owns files, responses, batches; nobody else sees them.
        key_id: `key_…`; what limits and usage are counted by. Never tells the key.
        roles: what the key may do: `inference` all of the API for users, `metrics` /metrics,
            `operator` everything that manages the server.
        is_metered: it waits for its answer, so its tokens count against the minute's limit; work
            in the background counts in the ledger alone.
        requests_per_minute, tokens_per_minute: limits of the key; None = the server's default.
    """

    project_id: str = DEFAULT_PROJECT
    key_id: str = DEFAULT_KEY
    roles: frozenset[Role] = frozenset[Role](("inference",))
    is_metered: bool = False
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None


ANYONE = Tenant(is_metered=True)
"""A caller of a server that has no keys."""

ANYONE_HERE = Tenant(roles=ROLES, is_metered=True)
"""The same on the server's own machine."""


def tenant_of_key(key_hash: bytes) -> Tenant:
    """The tenant of a key of `--api-key`, by its SHA-256: its own project, all roles."""
    digits = hashlib.sha256(b"servax static key" + key_hash).hexdigest()[:NUM_ID_DIGITS]
    return Tenant(project_id=f"proj_{digits}", key_id=f"key_{digits}", roles=ROLES, is_metered=True)
