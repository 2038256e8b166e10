from __future__ import annotations

PREFLIGHT = {
    "origin": "https://app",
    "access-control-request-method": "POST",
    "access-control-request-headers": "authorization, content-type",
}


async def test_by_default_no_page_may_read_answers(make_world):
    client = make_world().app.test_client()
    response = await client.get("/version", headers={"origin": "https://app"})
    assert "access-control-allow-origin" not in response.headers


async def test_a_preflight_needs_no_key(make_world):
    client = make_world(allowed_origins=("*",), api_keys=("k",)).app.test_client()
    response = await client.options("/t/json", headers=PREFLIGHT)
    assert response.status_code == 204
    assert response.headers["access-control-allow-origin"] == "*"
    assert response.headers["access-control-allow-headers"] == "authorization, content-type"
    assert "POST" in response.headers["access-control-allow-methods"]


async def test_errors_can_be_read_by_allowed_pages_too(make_world):
    client = make_world(allowed_origins=("https://app",), api_keys=("k",)).app.test_client()
    response = await client.get("/t/things/x", headers={"origin": "https://app"})
    assert response.status_code == 401
    assert response.headers["access-control-allow-origin"] == "https://app"
    assert response.headers["vary"] == "Origin"


async def test_other_origins_get_nothing(make_world):
    client = make_world(allowed_origins=("https://app",)).app.test_client()
    response = await client.get("/version", headers={"origin": "https://evil"})
    assert "access-control-allow-origin" not in response.headers


async def test_credentials_never_go_with_a_star(make_world):
    client = make_world(allowed_origins=("*",), allow_credentials=True).app.test_client()
    response = await client.get("/version", headers={"origin": "https://app"})
    assert response.headers["access-control-allow-origin"] == "https://app"
    assert response.headers["access-control-allow-credentials"] == "true"


async def test_an_options_request_that_is_no_preflight_needs_a_key(make_world):
    client = make_world(allowed_origins=("*",), api_keys=("k",)).app.test_client()
    assert (await client.options("/t/json")).status_code == 401
