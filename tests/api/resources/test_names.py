"""An operator finds the requests of every route by the names that clients know them by."""

from __future__ import annotations

import json
from typing import Any

import pytest

USER = {"messages": [{"role": "user", "content": "hi"}]}
ANTHROPIC = {**USER, "max_tokens": 4, "model": "test-model"}
BATCH = {"messages": [USER["messages"]] * 2}
GENERATE = {"token_ids": [5, 6], "sampling_params": {"max_tokens": 2}}
SCORING = {"query": "is it", "items": [" one", " two"], "label_token_ids": [3, 5]}
BEAMS = {"use_beam_search": True, "n": 2, "max_tokens": 2, "temperature": 0}
UNKEPT = {"input": "hi", "store": False}

BODIES: list[tuple[str, dict[str, Any]]] = [
    ("/v1/chat/completions", USER),
    ("/v1/chat/completions", {**USER, **BEAMS}),
    ("/v1/chat/completions/batch", BATCH),
    ("/v1/completions", {"prompt": ["one", "two"]}),
    ("/v1/completions", {"prompt": "one", **BEAMS}),
    ("/v1/messages", ANTHROPIC),
    ("/v1/responses", UNKEPT),
    ("/v1/responses/compact", {"model": "test-model", "input": "hi"}),
    ("/inference/v1/generate", GENERATE),
    ("/generative_scoring", SCORING),
    ("/invocations", {"prompt": "one"}),
]
OWN_NAME = ("/v1/messages", "/v1/responses", "/v1/responses/compact")
"""Whose bodies have no `request_id`, or one that must be the header's."""


@pytest.mark.parametrize(("path", "body"), BODIES)
async def test_a_request_is_called_by_its_header_and_by_its_answer(
    storing_client: Any, storing_speaker: Any, path: str, body: dict[str, Any]
) -> None:
    response = await storing_client.post(path, json=body, headers={"x-request-id": "a-b-c"})
    answer = json.loads(await response.get_data())
    assert response.status_code == 200, answer
    assert storing_speaker.engine.requests
    for request in storing_speaker.engine.requests:
        assert {"a-b-c", answer.get("id") or answer["request_id"]} <= {*request.names}


@pytest.mark.parametrize(("path", "body"), [each for each in BODIES if each[0] not in OWN_NAME])
async def test_a_request_is_called_by_the_id_in_its_body_too(
    storing_client: Any, storing_speaker: Any, path: str, body: dict[str, Any]
) -> None:
    body = {**body, "request_id": "mine-1"}
    response = await storing_client.post(path, json=body, headers={"x-request-id": "a-b-c"})
    answer = json.loads(await response.get_data())
    assert response.status_code == 200, answer
    assert storing_speaker.engine.requests
    for request in storing_speaker.engine.requests:
        names = {"mine-1", "a-b-c", answer.get("id") or answer["request_id"]}
        assert names <= {*request.names}
