from __future__ import annotations

import pytest

from api.http.access import choose_request_id


async def test_every_answer_carries_the_three_headers(make_world):
    client = make_world().app.test_client()
    for path in ("/health", "/nowhere", "/t/fail"):
        headers = (await client.get(path)).headers
        assert headers["x-request-id"].startswith("req_")
        assert headers["openai-processing-ms"].isdigit()
        assert headers["openai-version"] == "2020-10-01"


async def test_a_sane_request_id_of_the_client_is_kept(make_world):
    client = make_world().app.test_client()
    response = await client.get("/health", headers={"X-Request-Id": "my-id.1"})
    assert response.headers["x-request-id"] == "my-id.1"


@pytest.mark.parametrize("given", ["", "a b", "x" * 129, "a\r\nb: c", "é", None])
def test_an_odd_request_id_is_replaced(given):
    assert choose_request_id(given).startswith("req_")


async def test_nothing_stays_in_flight_after_an_answer(make_world):
    world = make_world()
    await world.app.test_client().get("/t/fail")
    assert world.state.admission.num_in_flight == 0
    assert world.state.admission.num_working == 0


async def test_a_log_line_names_the_route_and_not_the_content(make_world, caplog):
    caplog.set_level("INFO")
    client = make_world(enable_log_requests=True).app.test_client()
    await client.get("/t/things/secret", headers={"X-Request-Id": "id-7"})
    line = next(r.getMessage() for r in caplog.records if r.name == "servax.access")
    assert "/t/things/<path:name>" in line
    assert "id-7" in line
    assert "secret" not in line


async def test_a_root_path_is_taken_off(make_world):
    client = make_world(root_path="/llm").app.test_client()
    assert (await client.get("/llm/version")).status_code == 200
    assert (await client.get("/version")).status_code == 200
    assert (await client.get("/llmversion")).status_code == 404
