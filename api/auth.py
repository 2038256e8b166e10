"""Who may call what. Default deny: a route is open only by an explicit mark.

The decision hangs on the *matched route*, never on the text of the path, so that odd spellings
of a path (`//`, `%2f`, case, absolute-form, odd Host) can reach nothing that the plain one
cannot. A request that matches no route needs a key too.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from api.errors import APIError
from api.tenant import ANYONE, ANYONE_HERE, Tenant, tenant_of_key

View = TypeVar("View", bound=Callable[..., Any])

PUBLIC_MARK = "servax_is_public"
OPERATOR_MARK = "servax_is_for_operator"
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
    """Mark a view as needing a key, or, where no key is configured, a loopback client."""
    setattr(view, OPERATOR_MARK, True)
    return view


def is_public(view: Callable[..., Any] | None) -> bool:
    """Whether the view carries the mark of `public`."""
    return bool(getattr(view, PUBLIC_MARK, False))


def is_for_operator(view: Callable[..., Any] | None) -> bool:
    """Whether the view carries the mark of `for_operator`."""
    return bool(getattr(view, OPERATOR_MARK, False))


def hash_key(key: str) -> bytes:
    """SHA-256 of a key: all that is kept of it."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


class Access:
    """Decides about requests by the configured keys."""

    def __init__(self, api_keys: tuple[str, ...]) -> None:
        hashes = tuple(hash_key(key) for key in api_keys)
        self._tenants = tuple((key_hash, tenant_of_key(key_hash)) for key_hash in hashes)

    def verify(
        self,
        view: Callable[..., Any] | None,
        headers: HeaderReader,
        client: tuple[str, int] | None,
    ) -> Tenant:
        """Who the client is, if it may call `view` (None: no route matched).

        `client` is the peer's address as the server saw it; None for a Unix socket.

        Raises:
            APIError: 401 without a valid key; 403 for an operator's route called from afar on
                a server that has no keys.
        """
        if is_public(view):
            return ANYONE
        if self._tenants:
            return self._tenant_of(given_key(headers))
        if is_loopback(client):
            return ANYONE_HERE
        if is_for_operator(view):
            raise APIError(
                "This endpoint is open to this machine only, unless an API key is configured.",
                status=403,
                code="forbidden",
            )
        return ANYONE

    def _tenant_of(self, key: str | None) -> Tenant:
        if key is None:
            raise _unauthorized(
                "You didn't provide an API key. Provide it in an Authorization header using "
                "Bearer auth (i.e. Authorization: Bearer YOUR_KEY)."
            )
        tenant = self._find(key)
        if tenant is None:
            raise _unauthorized("Incorrect API key provided.")
        return tenant

    def _find(self, key: str) -> Tenant | None:
        """Compares with every key, so that time tells nothing about which one is near."""
        given = hash_key(key)
        matches = [tenant for known, tenant in self._tenants if hmac.compare_digest(given, known)]
        return matches[0] if matches else None


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


def _unauthorized(message: str) -> APIError:
    return APIError(
        message,
        status=401,
        code="invalid_api_key",
        headers={"www-authenticate": "Bearer"},
    )
