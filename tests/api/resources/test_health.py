from __future__ import annotations

import asyncio

import pytest

from api.app import create_app, make_state
from api.settings import ServerSettings
from engine.errors import EngineDiedError

OWN = ("api.resources.health", "api.resources.metrics", "api.resources.docs")


async def status(client, path: str) -> int:
    return (await client.get(path)).status_code


@pytest.mark.parametrize("path", ["/health", "/ping", "/ready"])
async def test_who_waits_for_a_server_waits_until_it_has_loaded(path: str):
    client = create_app(make_state(ServerSettings(), "m"), OWN).test_client()
    response = await client.get(path)
    assert response.status_code == 503
    assert response.headers["retry-after"] == "2"
    assert (await response.get_json())["error"]["code"] == "model_loading"


async def test_a_server_that_failed_to_load_is_not_alive():
    state = make_state(ServerSettings(), "m")
    state.failure = "no such folder /secret"
    response = await create_app(state, OWN).test_client().get("/health")
    assert response.status_code == 503
    assert "secret" not in await response.get_data(as_text=True)


async def test_an_engine_that_failed_for_good_is_not_said_to_be_loading(make_world):
    world = make_world()
    world.state.failure = "the engine died too often"
    world.engine.is_ready = False
    client = world.app.test_client()
    for answer in (await client.get("/ready"), await client.post("/t/stream", json={})):
        assert answer.status_code == 503
        assert (await answer.get_json())["error"]["code"] == "engine_failed"
        assert "retry-after" not in answer.headers


async def test_health_has_no_body(make_world):
    response = await make_world().app.test_client().get("/health")
    assert (response.status_code, await response.get_data()) == (200, b"")


async def test_ready_needs_a_fresh_step(make_world):
    world = make_world(ready_step_age_s=10.0)
    assert await status(world.app.test_client(), "/ready") == 200
    old = make_world(ready_step_age_s=10.0)
    old.engine.step_age_s = 11.0
    assert await status(old.app.test_client(), "/ready") == 503


async def test_a_silent_or_dead_engine_is_not_ready(make_world):
    for error in (TimeoutError(), EngineDiedError("gone")):
        world = make_world()
        world.engine.probe_error = error
        assert await status(world.app.test_client(), "/ready") == 503


async def test_an_engine_being_restarted_is_alive_but_not_ready(make_world):
    world = make_world()
    world.engine.is_ready = False
    assert await status(world.app.test_client(), "/ready") == 503
    assert await status(world.app.test_client(), "/health") == 200


async def test_many_who_ask_cause_one_probe(make_world):
    world = make_world()
    client = world.app.test_client()
    answers = await asyncio.gather(*(status(client, "/ready") for _ in range(20)))
    assert set(answers) == {200}
    assert world.engine.num_probes == 1


async def test_a_draining_server_is_not_ready_but_alive(make_world):
    world = make_world()
    world.state.admission.start_draining()
    client = world.app.test_client()
    assert await status(client, "/ready") == 503
    assert await status(client, "/health") == 200


async def test_version_and_load(make_world):
    client = make_world().app.test_client()
    assert set(await (await client.get("/version")).get_json()) == {"version"}
    assert await (await client.get("/load")).get_json() == {"server_load": 0}
