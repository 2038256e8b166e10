"""The list of models."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from api.errors import APIError
from api.services.models import list_models, retrieve_model


def test_every_name_is_listed_with_vllms_members(speaking: Any) -> None:
    answer = orjson.loads(list_models(speaking().context))
    assert answer["object"] == "list"
    assert [card["id"] for card in answer["data"]] == ["test-model", "alias/of-it"]
    assert set(answer["data"][0]) == {
        "id", "object", "created", "owned_by", "root", "parent", "max_model_len", "permission",
    }  # fmt: skip
    assert answer["data"][0]["max_model_len"] == 128


def test_one_model_is_found_by_name_or_is_404(speaking: Any) -> None:
    assert orjson.loads(retrieve_model(speaking().context, "alias/of-it"))["id"] == "alias/of-it"
    with pytest.raises(APIError) as caught:
        retrieve_model(speaking().context, "nope")
    assert (caught.value.status, caught.value.param) == (404, "model")
