from __future__ import annotations

import dataclasses

import pytest

from api.keys.tenant import Tenant

ONE = Tenant(project_id="proj_one", key_id="key_one")
TWO = Tenant(project_id="proj_two", key_id="key_two")


def as_tenant(speaker, tenant):
    return dataclasses.replace(speaker, context=speaker.context.for_tenant(tenant))


async def salts(speaker, tenants, **fields) -> list[str]:
    """What the same request is salted with for each tenant."""
    for tenant in tenants:
        await as_tenant(speaker, tenant).chat("hi", **fields)
    return [request.cache_salt for request in speaker.engine.requests]


CLIENTS = [{}, {"cache_salt": "mine"}, {"prompt_cache_key": "mine"}]


@pytest.mark.parametrize("fields", CLIENTS)
async def test_projects_share_no_prefix(speaking, fields):
    one, two, again = await salts(speaking(), [ONE, TWO, ONE], **fields)
    assert one == again
    assert one != two


async def test_keys_of_one_project_share_prefixes(speaking):
    other_key = dataclasses.replace(ONE, key_id="key_other")
    one, other = await salts(speaking(), [ONE, other_key])
    assert one == other


async def test_the_operator_may_let_projects_share(speaking):
    one, two = await salts(speaking(share_prefix_cache=True), [ONE, TWO])
    assert one == two == ""


async def test_a_client_salt_still_separates_within_a_project(speaking):
    speaker = as_tenant(speaking(), ONE)
    for fields in CLIENTS:
        await speaker.chat("hi", **fields)
    assert len({request.cache_salt for request in speaker.engine.requests}) == len(CLIENTS)


async def test_no_client_salt_spells_another_projects(speaking):
    speaker = speaking()
    await as_tenant(speaker, TWO).chat("hi", cache_salt="a", prompt_cache_key="b")
    target = speaker.engine.requests[0].cache_salt
    for forged in (target, target.replace("1:a", "a"), "proj_two", "proj_two\x1f"):
        for name in ("cache_salt", "prompt_cache_key"):
            await as_tenant(speaker, ONE).chat("hi", **{name: forged[:64]})
            await speaker.chat("hi", **{name: forged[:64]})
    assert target not in {request.cache_salt for request in speaker.engine.requests[1:]}


async def test_every_service_says_whose_a_request_is(speaking):
    speaker = as_tenant(speaking(), ONE)
    await speaker.chat("hi")
    await speaker.chat_stream("hi")
    await speaker.complete(["one", "two"])
    await speaker.complete("one", use_beam_search=True, n=2, temperature=0, max_tokens=2)
    assert {request.tenant for request in speaker.engine.requests} == {"key_one"}
    assert all("proj_one" in request.cache_salt for request in speaker.engine.requests)
