"""POST /v1/responses/render: what a request gives the engine."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from api.services.generate.service import generate_tokens
from api.services.responses.rendered import render_response
from engine.errors import RequestError

FIELDS: dict[str, Any] = {
    "instructions": "Be short.", "temperature": 0.5, "top_k": 3, "seed": 7, "min_tokens": 1,
    "max_output_tokens": 4, "tools": [{"type": "function", "name": "look", "parameters": {}}],
    "reasoning": {"effort": "high"}, "text": {"format": {"type": "json_object"}},
}  # fmt: skip


async def render(asker: Any, given: Any = "hi", **fields: Any) -> dict[str, Any]:
    answer = await render_response(asker.exchange, {"input": given, **fields})
    return orjson.loads(answer.body)


async def test_generating_a_rendered_request_is_answering_it(asking: Any) -> None:
    direct, asker = asking("hello"), asking("hello")
    await direct.ask(**FIELDS)
    await generate_tokens(asker.speaker.context, await render(asker, **FIELDS))
    wanted, got = direct.speaker.engine.requests[0], asker.speaker.engine.requests[0]
    assert got.prompt_token_ids == wanted.prompt_token_ids
    assert (got.sampling, got.grammar.source) == (wanted.sampling, wanted.grammar.source)


async def test_what_came_before_is_rendered_and_nothing_is_kept(asking: Any, storage: Any) -> None:
    asker = asking("hello")
    asker.storage = storage
    first = await asker.ask(store=True)
    rendered = await render(asker, "more", previous_response_id=first["id"], stream=True)
    assert rendered["stream"] is True
    assert rendered["request_id"].startswith("resp_")
    assert len(asker.speaker.engine.requests) == 1
    await asker.ask("more", previous_response_id=first["id"])
    assert tuple(rendered["token_ids"]) == asker.prompt()


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"store": True}, "store"),
        ({"background": True}, "background"),
        ({"tool_outputs_mode": "hold"}, "tool_outputs_mode"),
        ({"temperature": 3}, "temperature"),
        ({"input": []}, "input"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
    ],
)
async def test_what_cannot_be_rendered_is_named(
    asking: Any, fields: dict[str, Any], param: str
) -> None:
    with pytest.raises(RequestError) as caught:
        await render(asking("x"), **fields)
    assert caught.value.param == param
