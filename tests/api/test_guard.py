"""What has no room is refused at the door, in the words of the routes' guard."""

from __future__ import annotations

import pytest
from quart import Blueprint

from api.keys.auth import public

KEYS = ("sk-flood", "sk-other")
ORIGIN = {"origin": "https://app"}


def full(make_world, **settings):
    """A world whose first key may have no more."""
    world = make_world(api_keys=KEYS, max_num_queued_reqs=3, **settings)
    admission = world.state.admission
    admission.max_num_running = 0
    key_id = world.state.keys.find(KEYS[0]).key_id
    for index in range(2):
        admission._working[str(index)] = key_id
    return world


async def ask(world, key=KEYS[0], path="/t/whole", **headers):
    headers = {"authorization": f"Bearer {key}", **headers}
    return await world.app.test_client().post(path, json={}, headers=headers)


@pytest.mark.parametrize(("headers", "is_made"), [({}, False), (ORIGIN, True)])
async def test_no_request_is_made_of_what_is_refused_but_for_a_browser(
    make_world, headers, is_made
):
    world = full(make_world, allowed_origins=("https://app",))
    made = []
    create = world.app.request_class
    world.app.request_class = lambda *given, **more: made.append(1) or create(*given, **more)
    answer = await ask(world, **headers)
    assert answer.status_code == 429
    assert ("access-control-allow-origin" in answer.headers) is is_made
    assert bool(made) is is_made


@pytest.mark.parametrize("style", ["openai", "vllm"])
async def test_the_door_answers_as_the_guard_does(make_world, style):
    world = full(make_world, error_format=style, allowed_origins=("https://app",))
    at_door, at_route = await ask(world), await ask(world, **ORIGIN)
    assert at_door.status_code == at_route.status_code == 429
    assert await at_door.get_json() == await at_route.get_json()
    for name in ("content-type", "retry-after", "retry-after-ms", "x-ratelimit-limit-requests"):
        assert at_door.headers[name] == at_route.headers[name]
    assert (await ask(world, KEYS[1])).status_code == 200


async def test_who_shows_no_key_learns_nothing_of_how_full_it_is(make_world):
    world = full(make_world)
    world.state.admission._working["third"] = None
    assert (await ask(world, "sk-wrong")).status_code == 401
    assert (await ask(world, KEYS[1])).status_code == 503


async def test_what_is_refused_at_the_door_is_counted_with_its_route(make_world):
    world = full(make_world)
    await ask(world)
    text = world.state.metrics.exposition().decode()
    assert 'reason="rate_limit"} 1' in text
    assert 'handler="/t/whole"' in text
    assert world.state.admission.num_working == 2


async def test_while_draining_what_is_public_is_answered(make_world):
    world = full(make_world)
    blueprint = Blueprint("open", __name__)
    blueprint.post("/t/open")(public(_open))
    world.app.register_blueprint(blueprint)
    world.state.admission.start_draining()
    assert (await ask(world, path="/t/open")).status_code == 200
    assert (await ask(world)).status_code == 503


async def _open():
    return {}
