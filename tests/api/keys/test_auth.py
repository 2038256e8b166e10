from __future__ import annotations

import pytest

from api.errors import APIError
from api.keys.auth import Access, is_for_operator, is_loopback, is_public
from api.keys.key_ring import KeyRing, StoredKey, hash_key
from api.keys.tenant import ROLES, Tenant

PUBLIC = {"/health", "/ping", "/ready", "/version", "/docs", "/docs/<name>"}


def test_only_these_routes_are_public(make_world):
    app = make_world().app
    public = {
        rule.rule
        for rule in app.url_map.iter_rules()
        if is_public(app.view_functions[rule.endpoint])
    }
    assert public == PUBLIC


OPERATOR = {
    "/metrics",
    *("/pause", "/resume", "/is_paused", "/sleep", "/wake_up", "/is_sleeping"),
    *("/abort_requests", "/reset_prefix_cache", "/reset_mm_cache", "/reset_encoder_cache"),
    *("/release_kv_cache_memory", "/server_info", "/start_profile", "/stop_profile"),
    *("/scale_elastic_ep", "/is_scaling_elastic_ep"),
}


def test_only_metrics_and_management_are_for_the_operator(make_world):
    app = make_world().app
    rules = app.url_map.iter_rules()
    operator = {r.rule for r in rules if is_for_operator(app.view_functions[r.endpoint])}
    assert operator == OPERATOR


async def test_every_other_route_asks_for_a_key(make_world):
    app = make_world(api_keys=("secret",)).app
    client = app.test_client()
    for rule in app.url_map.iter_rules():
        if rule.rule in PUBLIC:
            continue
        path = rule.rule.replace("<path:name>", "x")
        for method in rule.methods or ():
            response = await client.open(path, method=method)
            assert response.status_code == 401, (method, rule.rule)


ROLES_OF_ROUTES = {
    route: {"metrics", "operator"} if route == "/metrics" else {"operator"} for route in OPERATOR
}


@pytest.mark.parametrize("role", sorted(ROLES))
async def test_a_role_opens_its_routes_and_no_other(make_world, role):
    """Default deny over the whole URL map: a new route is for inference, whoever forgets a mark."""
    world = make_world()
    tenant = Tenant(project_id="proj_x", key_id="key_x", roles=frozenset((role,)))
    world.state.keys.replace([StoredKey(hash_key("secret"), tenant, None)], has_any=True)
    client = world.app.test_client()
    for rule in world.app.url_map.iter_rules():
        if rule.rule in PUBLIC:
            continue
        may = role in ROLES_OF_ROUTES.get(rule.rule, {"inference"})
        path = rule.rule.replace("<path:name>", "x")
        for method in (rule.methods or set()) - {"OPTIONS", "HEAD"}:
            answer = await client.open(path, method=method, headers={"x-api-key": "secret"})
            assert (answer.status_code == 403) is not may, (method, rule.rule)
            if not may:
                error = (await answer.get_json())["error"]
                assert error["code"] == "insufficient_permissions"


@pytest.mark.parametrize(
    "path",
    [
        "//t/things/x",
        "/t//things/x",
        "/%74/things/x",
        "/t%2fthings%2fx",
        "/T/things/x",
        "/t/things/x/",
        "/./t/things/x",
        "/health/../t/things/x",
        "/health%2f..%2ft/things/x",
        "/health;/t/things/x",
        "/health/",
        "/HEALTH",
        "/nowhere",
    ],
)
async def test_odd_paths_open_nothing(make_world, path):
    client = make_world(api_keys=("secret",)).app.test_client()
    assert (await client.get(path)).status_code == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Bearer two"},
        {"Authorization": "bearer  two "},
        {"x-api-key": "two"},
        {"api-key": "two"},
    ],
)
async def test_any_configured_key_is_accepted_in_each_header(make_world, headers):
    client = make_world(api_keys=("one", "two")).app.test_client()
    assert (await client.get("/t/things/x", headers=headers)).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer "},
        {"authorization": "two"},
        {"authorization": "Basic two"},
        {"authorization": "Bearer tw"},
        {"authorization": "Bearer two2"},
        {"authorization": "Bearer ï"},
        {"x-api-key": ""},
    ],
)
async def test_anything_else_is_401_in_the_envelope(make_world, headers):
    client = make_world(api_keys=("one", "two")).app.test_client()
    response = await client.get("/t/things/x", headers=headers)
    assert response.status_code == 401
    error = (await response.get_json())["error"]
    assert error["code"] == "invalid_api_key"
    assert response.headers["www-authenticate"] == "Bearer"


async def test_without_keys_everything_but_metrics_is_open_to_all(make_world):
    client = make_world().app.test_client()
    assert (await client.get("/t/things/x")).status_code == 200


@pytest.mark.parametrize(
    ("client", "is_local"),
    [
        (None, True),
        (("127.0.0.1", 1), True),
        (("::1", 1), True),
        (("::ffff:127.0.0.1", 1), True),
        (("10.0.0.1", 1), False),
        (("localhost", 1), False),
    ],
)
def test_loopback_is_told_by_the_peers_address(client, is_local):
    assert is_loopback(client) is is_local


def test_metrics_without_keys_are_for_this_machine_only():
    from api.resources.metrics import metrics

    access = Access(KeyRing())
    access.verify(metrics, {}, ("127.0.0.1", 1))
    with pytest.raises(APIError) as caught:
        access.verify(metrics, {}, ("10.0.0.1", 1))
    assert caught.value.status == 403


async def test_a_forged_remote_address_header_changes_nothing(make_world):
    client = make_world().app.test_client()
    scope = {"client": ("10.0.0.1", 1)}
    headers = {"Remote-Addr": "127.0.0.1", "X-Forwarded-For": "127.0.0.1"}
    response = await client.get("/metrics", headers=headers, scope_base=scope)
    assert response.status_code == 403
