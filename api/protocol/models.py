"""GET /v1/models and /v1/models/{model}."""

from __future__ import annotations

from typing import Literal

import pydantic


class ModelPermission(pydantic.BaseModel):
    """OpenAI's former permission record, which vLLM's clients still read."""

    id: str
    object: Literal["model_permission"] = "model_permission"
    created: int
    allow_create_engine: bool = False
    allow_sampling: bool = True
    allow_logprobs: bool = True
    allow_search_indices: bool = False
    allow_view: bool = True
    allow_fine_tuning: bool = False
    organization: str = "*"
    group: str | None = None
    is_blocking: bool = False


class ModelCard(pydantic.BaseModel):
    """A model that can be asked for."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "servax"
    root: str
    parent: str | None = None
    max_model_len: int
    permission: list[ModelPermission]


class ModelList(pydantic.BaseModel):
    """All models."""

    object: Literal["list"] = "list"
    data: list[ModelCard]
