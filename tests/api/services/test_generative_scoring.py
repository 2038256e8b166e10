"""/generative_scoring: one prompt for each item, its score the first label's share."""

from __future__ import annotations

import math
from typing import Any

import orjson
import pytest

from api.errors import APIError
from api.services.generative_scoring import first_share, score
from engine.errors import RequestError
from engine.request import FinishReason, TokenDelta

BODY: dict[str, Any] = {"query": "is it", "items": [" one", " two"], "label_token_ids": [3, 5]}


async def scored(speaker: Any, **fields: Any) -> dict[str, Any]:
    return orjson.loads((await score(speaker.context, BODY | fields, "r")).body)


async def test_an_answer_has_vllms_members(speaking: Any) -> None:
    speaker = speaking("yes")
    answer = await scored(speaker)
    assert set(answer) == {"id", "object", "created", "model", "data", "usage"}
    assert (answer["id"], answer["object"]) == ("generative-scoring-r", "list")
    assert [(each["index"], each["object"]) for each in answer["data"]] == [
        (0, "score"), (1, "score"),
    ]  # fmt: skip
    num_prompt = sum(len(request.prompt_token_ids) for request in speaker.engine.requests)
    assert answer["usage"]["prompt_tokens"] == num_prompt
    assert answer["usage"]["completion_tokens"] == 2


async def test_the_score_is_the_first_labels_share(speaking: Any) -> None:
    """The scripted engine gives label i the log-probability -i."""
    wanted = math.exp(-3) / (math.exp(-3) + math.exp(-5))
    answer = await scored(speaking("yes"))
    assert [each["score"] for each in answer["data"]] == pytest.approx([wanted, wanted])
    whole = await scored(speaking("yes"), apply_softmax=False)
    assert whole["data"][0]["score"] == pytest.approx(math.exp(-3))


async def test_items_stand_after_the_query_or_before_it(speaking: Any, tokenizer: Any) -> None:
    query, items = tokenizer.encode("is it"), [tokenizer.encode(text) for text in BODY["items"]]
    after, before = speaking("yes"), speaking("yes")
    await scored(after)
    await scored(before, item_first=True)
    assert [list(r.prompt_token_ids) for r in after.engine.requests] == [query + i for i in items]
    assert [list(r.prompt_token_ids) for r in before.engine.requests] == [i + query for i in items]
    ids = speaking("yes")
    await scored(ids, query=query, items=items)
    assert ids.engine.requests[1].prompt_token_ids == after.engine.requests[1].prompt_token_ids


async def test_labels_that_are_hardly_likely_still_have_shares() -> None:
    assert first_share([-2000.0, -2000.0], True) == 0.5
    assert first_share([-2000.0], False) == 0.0


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"items": []}, "items"),
        ({"items": [" one", [5]]}, "items[1]"),
        ({"items": [[10**6]]}, "items[0]"),
        ({"items": [" one", "x " * 200]}, "items[1]"),
        ({"query": "", "items": [""]}, "items[0]"),
        ({"query": 5}, "query"),
        ({"label_token_ids": []}, "label_token_ids"),
        ({"label_token_ids": [10**6]}, "label_token_ids"),
        ({"label_token_ids": [5, 5]}, "label_token_ids"),
        ({"label_token_ids": [-1]}, "label_token_ids"),
        ({"label_token_ids": list(range(129))}, "label_token_ids"),
        ({"items": ["a"] * 1025}, "items"),
        ({"priority": 1}, "priority"),
        ({"apply_softmax": 1}, "apply_softmax"),
    ],
)
async def test_a_bad_field_is_named_and_nothing_runs(
    speaking: Any, fields: dict[str, Any], param: str
) -> None:
    speaker = speaking("yes")
    with pytest.raises(RequestError) as caught:
        await scored(speaker, **fields)
    assert caught.value.param == param
    assert speaker.engine.requests == []


async def test_what_an_operator_ended_has_no_score(speaking: Any) -> None:
    speaker = speaking("yes")
    speaker.engine.bad_delta = TokenDelta(request_id="", finish_reason=FinishReason.ABORT)
    with pytest.raises(APIError) as caught:
        await scored(speaker)
    assert (caught.value.status, caught.value.code) == (503, "request_aborted")
