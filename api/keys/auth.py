"""Who may call what. Default deny: a route is open only by an explicit mark.

The decision hangs on the *matched route*, never on the text of the path, so that odd spellings
of a path (`//`, `%2f`, case, absolute-form, odd Host) can reach nothing that the plain one
cannot. A request that matches no route needs a key too.

    mark              who may call
    public            everyone
    (none)            keys with the role `inference`
    for_metrics       `metrics` or `operator`
    for_operator      `operator`

On a server without keys everyone may call what needs `inference`, and the rest is for clients on
the same machine.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from api.errors import APIError, unavailable
from api.keys.key_ring import KeyRing
from api.keys.tenant import ANYONE, ANYONE_HERE, Role, Tenant

View = TypeVar("View", bound=Callable[..., Any])

PUBLIC_MARK = "servax_is_public"
ROLES_MARK = "servax_roles"
WITHOUT_ENGINE_MARK = "servax_is_without_engine"
OPERATOR: frozenset[Role] = frozenset(("operator",))
METRICS: frozenset[Role] = frozenset(("metrics", "operator"))
INFERENCE: frozenset[Role] = frozenset(("inference",))
KEY_HEADERS = ("x-api-key", "api-key")


class HeaderReader(Protocol):
    """Request headers, looked up in any case."""

    def get(self, key: str, default: str, /) -> str:
        """The header's value, or `default`."""
        ...


def public(view: View) -> View:
    """Mark a view as open to everyone."""
    setattr(view, PUBLIC_MARK, True)
    return view


def for_operator(view: View) -> View:
    """Mark a view as needing an operator's key, or, without keys, a client on this machine."""
    setattr(view, ROLES_MARK, OPERATOR)
    return view


def for_metrics(view: View) -> View:
    """Mark a view as needing a key for metrics, or, without keys, a client on this machine."""
    setattr(view, ROLES_MARK, METRICS)
    return view


def without_engine(view: View) -> View:
    """Mark a POST as one that does not use the engine, so it takes no place in its queue."""
    setattr(view, WITHOUT_ENGINE_MARK, True)
    return view


def is_without_engine(view: Callable[..., Any] | None) -> bool:
    """Whether the view carries the mark of `without_engine`."""
    return bool(getattr(view, WITHOUT_ENGINE_MARK, False))


def is_public(view: Callable[..., Any] | None) -> bool:
    """Whether the view carries the mark of `public`."""
    return bool(getattr(view, PUBLIC_MARK, False))


def is_for_operator(view: Callable[..., Any] | None) -> bool:
    """Whether the view does not belong to users: those of `for_operator` and `for_metrics`."""
    return roles_of(view) != INFERENCE


def roles_of(view: Callable[..., Any] | None) -> frozenset[Role]:
    """A key needs one of these to call the view."""
    return getattr(view, ROLES_MARK, INFERENCE)


class Access:
    """Decides about requests by the keys there are."""

    def __init__(self, keys: KeyRing) -> None:
        self._keys = keys

    def verify(
        self,
        view: Callable[..., Any] | None,
        headers: HeaderReader,
        client: tuple[str, int] | None,
    ) -> Tenant:
        """Who the client is, if it may call `view` (None: no route matched).

        `client` is the peer's address as the server saw it; None for a Unix socket.

        Raises:
            APIError: 401 without a valid key; 403 when the key has another role, or for an
                operator's route called from afar on a server that has no keys; 503 while the keys
                cannot be known.
        """
        if is_public(view):
            return ANYONE
        tenant = self._tenant_of(headers, client)
        if view is not None and not tenant.roles & roles_of(view):
            raise _forbidden(tenant, roles_of(view))
        return tenant

    def _tenant_of(self, headers: HeaderReader, client: tuple[str, int] | None) -> Tenant:
        key = given_key(headers)
        tenant = None if key is None else self._keys.find(key)
        if tenant is not None:
            return tenant
        if not self._keys.is_known:
            raise unavailable("The server's keys cannot be read yet.", "keys_unavailable")
        if self._keys.is_empty:
            return ANYONE_HERE if is_loopback(client) else ANYONE
        if key is None:
            raise _unauthorized(
                "You didn't provide an API key. Provide it in an Authorization header using "
                "Bearer auth (i.e. Authorization: Bearer YOUR_KEY)."
            )
        raise _unauthorized("Incorrect API key provided.")


def given_key(headers: HeaderReader) -> str | None:
    """The key of `Authorization: Bearer`, else of `x-api-key` or `api-key`."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    return next((key for name in KEY_HEADERS if (key := headers.get(name, ""))), None)


def is_loopback(client: tuple[str, int] | None) -> bool:
    """Whether the peer is this machine."""
    if client is None:
        return True
    try:
        address = ipaddress.ip_address(client[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def _forbidden(tenant: Tenant, roles: frozenset[Role]) -> APIError:
    if tenant is ANYONE:
        message = "This endpoint is open to this machine only, unless an API key is configured."
        return APIError(message, status=403, code="forbidden")
    message = f"This API key may not do that: it needs the role {' or '.join(sorted(roles))}."
    return APIError(message, status=403, code="insufficient_permissions")


def _unauthorized(message: str) -> APIError:
    return APIError(
        message,
        status=401,
        code="invalid_api_key",
        headers={"www-authenticate": "Bearer"},
    )
