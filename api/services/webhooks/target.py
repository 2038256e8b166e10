"""Which addresses may be spoken to: nothing inside the operator's network, whatever a name says.

The operator lists hosts (`--allowed-webhook-domains hooks.example.com 10.0.0.5:9000`). The URL is
taken apart once, by the library that also sends; the host must be one of the list. A name's
addresses are looked up here, all of them must be public, and the connection goes to one that was
looked at, so a name cannot mean another address a moment later. An address in the list itself is
what the operator says it is. Redirects are not followed.
"""

from __future__ import annotations

import asyncio
import dataclasses
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Iterable

import httpx

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], Awaitable[list[Address]]]

NAT64 = ipaddress.ip_network("64:ff9b::/96")
FLAG = "--allowed-webhook-domains"
DEFAULT_PORTS = {"https": 443, "http": 80}


class TargetError(Exception):
    """The URL must not be called; `str(error)` says why, for the operator."""


@dataclasses.dataclass(frozen=True, slots=True)
class Target:
    """Where a request really goes.

    Attributes:
        url: with a looked-up address in place of the name.
        host: for the `host` header, port included unless it is the scheme's own.
        server_name: for TLS.
    """

    url: httpx.URL
    host: str
    server_name: str


async def resolve_name(host: str, port: int) -> list[Address]:
    """All addresses of a name."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError:
        raise TargetError(f"{host} has no address") from None
    return [ipaddress.ip_address(entry[4][0]) for entry in found]


async def find_target(
    url: str, allowed: Iterable[str], resolve: Resolve = resolve_name, *, flag: str = FLAG
) -> Target:
    """Check a URL and look its host up.

    Arguments:
        allowed: hosts, with a port where it is not 443.
        flag: what lists them.

    Raises:
        TargetError: it must not be called.
    """
    parsed = verify_url(url, allowed, flag=flag)
    port = parsed.port or DEFAULT_PORTS[parsed.scheme]
    literal = address_of(parsed.host)
    addresses = [literal] if literal is not None else await resolve(parsed.host, port)
    if literal is None and not (addresses and all(map(is_public, addresses))):
        raise TargetError(f"{parsed.host} has an address that is not public")
    return Target(parsed.copy_with(host=str(addresses[0])), parsed.netloc.decode(), parsed.host)


def verify_url(url: str, allowed: Iterable[str], *, flag: str = FLAG) -> httpx.URL:
    """The parts of a URL that may be called as far as can be told without looking it up."""
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, ValueError):
        raise TargetError("it is not a URL") from None
    if parsed.userinfo:
        raise TargetError("it has a user name or password")
    is_literal = address_of(parsed.host) is not None
    if parsed.scheme != "https" and not (parsed.scheme == "http" and is_literal):
        raise TargetError("it must begin with https:// (or http:// and an allowed address)")
    port = parsed.port or DEFAULT_PORTS[parsed.scheme]
    if (parsed.host.lower(), port) not in {
        _host_and_port(entry, parsed.scheme) for entry in allowed
    }:
        raise TargetError(f"{flag} does not list {parsed.host}:{port}")
    return parsed


def address_of(host: str) -> Address | None:
    """The address that a host is already, in its usual spelling; None for names."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def is_public(address: Address) -> bool:
    """Whether it is on the public internet, also when it is one written inside another."""
    if isinstance(address, ipaddress.IPv6Address):
        if address in NAT64 or address.sixtofour is not None or address.teredo is not None:
            return False
        if address.ipv4_mapped is not None:
            return is_public(address.ipv4_mapped)
    return address.is_global and not address.is_multicast


def _host_and_port(entry: str, scheme: str) -> tuple[str, int]:
    parts = httpx.URL(f"{scheme}://{entry}")
    return parts.host.lower(), parts.port or DEFAULT_PORTS[scheme]
