from __future__ import annotations

import pytest
from quart import Blueprint, websocket
from quart.testing.connections import WebsocketResponseError

from api.context import caller, context
from api.keys.tenant import ANYONE, ANYONE_HERE, DEFAULT_PROJECT, ROLES, tenant_of_key

AFAR = {"client": ("10.0.0.1", 1)}


@pytest.fixture
def make_app(make_world):
    """An application with a route and a WebSocket that say who calls."""

    def make(**settings):
        blueprint = Blueprint("tenants", __name__)

        @blueprint.get("/t/who")
        async def who() -> dict[str, object]:
            assert context().tenant == caller()
            return {"project": caller().project_id, "roles": sorted(caller().roles)}

        @blueprint.websocket("/t/who")
        async def who_is_it() -> None:
            await websocket.send(caller().project_id)

        app = make_world(**settings).app
        app.register_blueprint(blueprint)
        return app

    return make


async def project_of(app, key: str) -> str:
    headers = {"authorization": f"Bearer {key}"}
    answer = await app.test_client().get("/t/who", headers=headers)
    return (await answer.get_json())["project"]


async def test_each_static_key_is_a_project_of_its_own_and_stays_the_same(make_app):
    keys = ("one", "two")
    first = [await project_of(make_app(api_keys=keys), key) for key in keys]
    again = [await project_of(make_app(api_keys=keys[::-1]), key) for key in keys]
    assert first == again
    assert len({*first, DEFAULT_PROJECT}) == 3


def test_an_id_tells_nothing_of_the_keys_hash():
    key_hash = bytes(range(32))
    tenant = tenant_of_key(key_hash)
    assert tenant.project_id.startswith("proj_")
    assert tenant.key_id.startswith("key_")
    assert key_hash.hex()[:8] not in tenant.project_id


@pytest.mark.parametrize(("scope", "tenant"), [({}, ANYONE_HERE), (AFAR, ANYONE)])
async def test_without_keys_all_are_one_project_and_this_machine_manages(make_app, scope, tenant):
    answer = await make_app().test_client().get("/t/who", scope_base=scope)
    found = await answer.get_json()
    assert found == {"project": DEFAULT_PROJECT, "roles": sorted(tenant.roles)}
    assert ANYONE_HERE.roles == ROLES
    assert "operator" not in ANYONE.roles


async def test_a_websocket_has_a_caller_too(make_app):
    client = make_app(api_keys=("one",)).test_client()
    headers = {"authorization": "Bearer one"}
    async with client.websocket("/t/who", headers=headers) as socket:
        assert (await socket.receive()).startswith("proj_")


async def test_a_websocket_without_a_key_is_not_opened(make_app):
    client = make_app(api_keys=("one",)).test_client()
    with pytest.raises(WebsocketResponseError) as caught:
        async with client.websocket("/t/who") as socket:
            await socket.receive()
    assert caught.value.response.status_code == 401
