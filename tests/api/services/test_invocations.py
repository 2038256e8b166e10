"""/invocations answers as the endpoint whose field the body has."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from api.services.invocations import invoke
from engine.errors import InvalidParameterError


@pytest.mark.parametrize(
    ("body", "prefix"),
    [
        ({"messages": [{"role": "user", "content": "hi"}]}, "chatcmpl-"),
        ({"prompt": "hi"}, "cmpl-"),
        ({"token_ids": [1], "sampling_params": {}}, "generate-tokens-"),
    ],
)
async def test_the_body_decides(speaking: Any, body: dict[str, Any], prefix: str) -> None:
    answer = orjson.loads((await invoke(speaking("hello").context, body, "r")).body)
    assert (answer.get("id") or answer["request_id"]) == f"{prefix}r"


async def test_a_body_of_no_kind_is_told_what_is_missing(speaking: Any) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        await invoke(speaking("hello").context, {"input": "hi"})
    assert (caught.value.param, caught.value.code) == ("messages", "missing_required_parameter")
