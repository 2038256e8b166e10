from __future__ import annotations

import ipaddress

import pytest

from api.services.webhooks.target import TargetError, find_target, is_public

ALLOWED = ("hooks.example.com", "other.example.com:8443", "10.0.0.5:9000")


def resolving(*addresses: str):
    async def resolve(host: str, port: int):
        return [ipaddress.ip_address(address) for address in addresses]

    return resolve


PUBLIC = resolving("93.184.216.34")


async def test_the_connection_goes_to_the_address_that_was_looked_at():
    target = await find_target("https://hooks.example.com/a?b=c", ALLOWED, PUBLIC)
    assert str(target.url) == "https://93.184.216.34/a?b=c"
    assert (target.host, target.server_name) == ("hooks.example.com", "hooks.example.com")


async def test_a_port_and_an_address_are_what_the_operator_lists():
    target = await find_target("https://other.example.com:8443/x", ALLOWED, PUBLIC)
    assert target.host == "other.example.com:8443"
    target = await find_target("http://10.0.0.5:9000/x", ALLOWED, resolving())
    assert str(target.url) == "http://10.0.0.5:9000/x"


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/",
        "https://hooks.example.com.evil.org/",
        "https://evil.org/hooks.example.com",
        "https://hooks.example.com@evil.org/",
        "https://evil.org#@hooks.example.com/",
        "https://evil.org\\@hooks.example.com/",
        "https://user:password@hooks.example.com/",
        "https://hooks.example.com:444/",
        "http://hooks.example.com/",
        "ftp://hooks.example.com/",
        "file:///etc/passwd",
        "//hooks.example.com/",
        "https://10.0.0.5/",
        "http://10.0.0.5/",
        "http://0x0a000005:9000/",
        "http://167772165:9000/",
        "http://[::ffff:10.0.0.5]:9000/",
        "https://",
        "",
        "https://hooks.example.com:99999/",
        "https://hooks.exam\nple.com/",
    ],
)
async def test_nothing_but_what_is_listed_is_called(url):
    with pytest.raises(TargetError):
        await find_target(url, ALLOWED, PUBLIC)


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0"),
        *("100.64.0.1", "224.0.0.1", "255.255.255.255", "192.0.2.1"),
        *("::1", "::", "fe80::1", "fc00::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1"),
        *("64:ff9b::7f00:1", "2002:7f00:1::", "2001:0:7f00:1::"),
    ],
)
async def test_a_name_of_an_address_inside_is_not_called(address):
    assert not is_public(ipaddress.ip_address(address))
    for addresses in ((address,), ("93.184.216.34", address)):
        with pytest.raises(TargetError, match="not public"):
            await find_target("https://hooks.example.com/", ALLOWED, resolving(*addresses))


async def test_a_name_without_address_is_not_called():
    with pytest.raises(TargetError):
        await find_target("https://hooks.example.com/", ALLOWED, resolving())
