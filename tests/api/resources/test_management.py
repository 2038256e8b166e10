from __future__ import annotations

import pytest

from api.services.management.server_info import shown_variables
from engine.commands import (
    EndRequests,
    Pause,
    PauseMode,
    ReleasePages,
    ResetPrefixCache,
    Resume,
    Sleep,
    StartProfile,
    Suspension,
    WakeTag,
    WakeUp,
)
from engine.config import EngineConfig
from engine.errors import ConflictError

ASLEEP = Suspension(mode=PauseMode.ABORT, sleep_level=1, has_pages=False)


@pytest.fixture
def world(make_world):
    return make_world()


async def call(world, line, **options):
    method, path = line.split(" ", 1)
    response = await world.app.test_client().open(path, method=method, **options)
    body = await response.get_data()
    return response.status_code, (await response.get_json() if body else None)


@pytest.mark.parametrize(
    ("line", "command", "answer"),
    [
        ("POST /pause", Pause(PauseMode.ABORT), {"status": "paused"}),
        ("POST /pause?mode=keep", Pause(PauseMode.KEEP), {"status": "paused"}),
        ("POST /pause?mode=wait&clear_cache=false", Pause(PauseMode.WAIT, False),
         {"status": "paused"}),
        ("POST /resume", Resume(), {"status": "resumed"}),
        ("POST /sleep", Sleep(1), {"status": "sleeping", "level": 1}),
        ("POST /sleep?level=2&mode=wait", Sleep(2, PauseMode.WAIT),
         {"status": "sleeping", "level": 2}),
        ("POST /wake_up", WakeUp(), {"status": "awake", "tags": None}),
        ("POST /wake_up?tags=weights&tags=kv_cache",
         WakeUp((WakeTag.WEIGHTS, WakeTag.KV_CACHE)),
         {"status": "awake", "tags": ["weights", "kv_cache"]}),
        ("POST /abort_requests", EndRequests(), {"status": "aborted", "aborted": 0}),
        ("POST /reset_prefix_cache?reset_running_requests=true", ResetPrefixCache(True),
         {"success": False}),
        ("POST /release_kv_cache_memory", ReleasePages(), {"status": "kv_cache_released"}),
        ("POST /start_profile", StartProfile(), None),
    ],
)  # fmt: skip
async def test_a_route_gives_its_command_and_vllms_answer(world, line, command, answer):
    assert await call(world, line) == (200, answer)
    assert world.engine.commands == [command]


async def test_named_requests_are_aborted(world):
    world.engine.control_value = 1
    status, body = await call(world, "POST /abort_requests", json={"request_ids": ["a", "b"]})
    assert (status, body["aborted"]) == (200, 1)
    assert world.engine.commands == [EndRequests(("a", "b"))]


async def test_a_misspelt_list_of_requests_aborts_nobody(world):
    status, body = await call(world, "POST /abort_requests", json={"ids": ["zz"]})
    assert (status, body["error"]["param"]) == (400, "ids")
    assert world.engine.commands == []


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/abort_requests", {"request_ids": ["a"], "foo": 1}),
        ("/scale_elastic_ep", {"new_data_parallel_size": 1, "foo": 1}),
        ("/pause?foo=1", None),
    ],
)
async def test_unknown_fields_are_named_or_refused(make_world, path, body):
    response = await make_world().app.test_client().post(path, json=body)
    assert response.status_code == 200
    assert response.headers["warning"].endswith('no effect: foo"')
    strict = make_world(strict_fields=True)
    status, refusal = await call(strict, f"POST {path}", json=body)
    assert (status, refusal["error"]["param"]) == (400, "foo")
    assert strict.engine.commands == []


async def test_parts_that_still_sleep_are_told(world):
    world.engine.control_value = 1
    _, body = await call(world, "POST /wake_up?tags=weights")
    assert body == {"status": "sleeping", "tags": ["weights"]}


@pytest.mark.parametrize(
    ("line", "param"),
    [
        ("POST /pause?mode=stop", "mode"),
        ("POST /pause?mode=abort&mode=wait", "mode"),
        ("POST /pause?clear_cache=maybe", "clear_cache"),
        ("POST /sleep?level=3", "level"),
        ("POST /sleep?level=-1", "level"),
        ("POST /sleep?mode=", "mode"),
        ("POST /wake_up?tags=weights&tags=all", "tags[1]"),
        ("POST /reset_prefix_cache?reset_running_requests=2", "reset_running_requests"),
        ("GET /server_info?config_format=yaml", "config_format"),
    ],
)
async def test_a_query_that_cannot_be_honoured_is_400_and_does_nothing(world, line, param):
    status, body = await call(world, line)
    assert (status, body["error"]["param"]) == (400, param)
    assert world.engine.commands == []


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"new_data_parallel_size": 2}, "new_data_parallel_size"),
        ({"new_data_parallel_size": 0}, "new_data_parallel_size"),
        ({}, "new_data_parallel_size"),
        ({"new_data_parallel_size": 1, "drain_timeout": 0}, "drain_timeout"),
    ],
)
async def test_the_number_of_groups_is_fixed(world, body, param):
    status, answer = await call(world, "POST /scale_elastic_ep", json=body)
    assert (status, answer["error"]["param"]) == (400, param)


async def test_scaling_to_what_there_is_succeeds(world):
    world.state.config = EngineConfig(data_parallel_size=2)
    status, _ = await call(world, "POST /scale_elastic_ep", json={"new_data_parallel_size": 2})
    assert status == 200
    assert (await call(world, "POST /is_scaling_elastic_ep"))[1] == {"is_scaling_elastic_ep": False}


async def test_what_does_not_fit_the_engines_state_is_409(world):
    world.engine.control_error = ConflictError("asleep", code="engine_asleep")
    status, body = await call(world, "POST /resume")
    assert (status, body["error"]["code"]) == (409, "engine_asleep")


async def test_profiles_without_a_folder_are_404(world):
    world.engine.control_error = ConflictError("no folder", code="profiler_not_configured")
    assert (await call(world, "POST /stop_profile"))[0] == 404


async def test_a_sleeping_server_is_healthy_and_not_ready(world):
    world.engine.suspension = ASLEEP
    assert (await call(world, "GET /health"))[0] == 200
    status, body = await call(world, "GET /ready")
    assert (status, body["error"]["code"]) == (503, "engine_suspended")
    assert (await call(world, "GET /is_sleeping"))[1] == {"is_sleeping": True}
    assert (await call(world, "GET /is_paused"))[1] == {"is_paused": True}


async def test_caches_that_a_text_model_lacks_are_empty(world):
    assert await call(world, "POST /reset_mm_cache") == (200, None)
    assert await call(world, "POST /reset_encoder_cache") == (200, None)


async def test_an_operator_gets_through_to_a_full_server(make_world):
    world = make_world(max_num_queued_reqs=1)
    world.state.admission.max_num_running = 0
    world.state.admission._working["someone"] = None
    assert (await call(world, "POST /t/json", json={}))[0] == 503
    assert (await call(world, "POST /abort_requests"))[0] == 200


async def test_an_operator_needs_a_key(make_world):
    world = make_world(api_keys=("k",))
    assert (await call(world, "POST /sleep"))[0] == 401
    assert (await call(world, "GET /server_info"))[0] == 401


async def test_server_info_tells_no_secret(make_world):
    world = make_world(api_keys=("hunter2",))
    world.state.config = EngineConfig(model="m")
    headers = {"authorization": "Bearer hunter2"}
    _, as_text = await call(world, "GET /server_info", headers=headers)
    _, as_json = await call(world, "GET /server_info?config_format=json", headers=headers)
    assert "hunter2" not in str(as_text) + str(as_json)
    assert "model='m'" in as_text["vllm_config"]
    assert as_json["vllm_config"]["engine"]["model"] == "m"
    assert as_json["system_env"]["packages"]["jax"]


def test_variables_with_secrets_are_masked():
    shown = shown_variables({"SERVAX_API_KEY": "s", "SERVAX_PORT": "1", "HOME": "/home/x"})
    assert shown == {"SERVAX_API_KEY": "***", "SERVAX_PORT": "1"}


async def test_sleeps_are_timed(world):
    await call(world, "POST /sleep")
    text = world.state.metrics.exposition().decode()
    name = "vllm:sleep_mode_operation_duration_seconds_count"
    assert f'{name}{{operation="sleep"}} 1.0' in text
    assert f'{name}{{operation="wake"}} 0.0' in text
