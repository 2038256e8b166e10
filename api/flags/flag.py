"""One flag of `servax serve`, as a row of a table."""

from __future__ import annotations

import dataclasses

from api.flags.types import Kind


@dataclasses.dataclass(frozen=True, kw_only=True)
class Flag:
    """One flag.

    Attributes:
        name: with dashes, without the leading two.
        short: other spellings, complete with their dashes.
        environment: variables read besides SERVAX_NAME, weaker than it.
    """

    name: str
    kind: Kind
    group: str
    help: str
    fields: tuple[str, ...]
    short: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()
