"""The management family: queries, bodies and answers, by vLLM's names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import pydantic

from api.protocol.base import RequestModel
from engine.errors import InvalidParameterError

MAX_REQUEST_IDS = 10_000
MAX_SHOWN_NAME = 100

_SWITCH = {"true": True, "1": True, "false": False, "0": False}
Switch = Annotated[
    bool,
    pydantic.BeforeValidator(lambda word: _SWITCH.get(word, word)),
    pydantic.WithJsonSchema({"type": "string", "enum": list(_SWITCH)}),
]
Mode = Literal["abort", "wait", "keep"]


class PauseQuery(pydantic.BaseModel):
    """Of POST /pause.

    Attributes:
        mode: what becomes of running requests: they end, are waited for, or stand still.
        clear_cache: forget cached prefixes; not with `keep`.
    """

    mode: Mode = "abort"
    clear_cache: Switch = True


class SleepQuery(pydantic.BaseModel):
    """Of POST /sleep.

    Attributes:
        level: 0 = only pause, 1 = weights move to host memory, 2 = weights are dropped.
    """

    level: Literal["0", "1", "2"] = "1"
    mode: Mode = "abort"


class WakeUpQuery(pydantic.BaseModel):
    """Of POST /wake_up: wake only these; may be given several times."""

    tags: list[Literal["weights", "kv_cache", "scheduling"]] | None = None


class ResetPrefixCacheQuery(pydantic.BaseModel):
    """Of POST /reset_prefix_cache.

    Attributes:
        reset_running_requests: running requests give up their pages and compute anew.
        reset_external: there is no cache outside of the engine, so nothing more to reset.
    """

    reset_running_requests: Switch = False
    reset_external: Switch = False


class ServerInfoQuery(pydantic.BaseModel):
    """Of GET /server_info."""

    config_format: Literal["text", "json"] = "text"


class AbortRequestsRequest(RequestModel):
    """Ids of answers (`chatcmpl-...`), `X-Request-Id`s, or none for all requests."""

    request_ids: Annotated[list[str], pydantic.Field(max_length=MAX_REQUEST_IDS)] = pydantic.Field(
        default_factory=list[str]
    )


def verify_abort_body(body: Mapping[str, Any]) -> None:
    """Raise InvalidParameterError for a body that has members and no `request_ids`: a misspelt
    name must not end everybody's requests."""
    if body and "request_ids" not in body:
        name = next(iter(body))[:MAX_SHOWN_NAME]
        raise InvalidParameterError(
            f"Unknown parameter: '{name}'. Only an empty body ends all requests.",
            param=name,
            code="unknown_parameter",
        )


class ScaleElasticEPRequest(RequestModel):
    """How many data-parallel groups there shall be, and how long running requests may take."""

    new_data_parallel_size: Annotated[int, pydantic.Field(ge=1, le=65536)]
    drain_timeout: Annotated[int, pydantic.Field(ge=1, le=86400)] = 120


class Status(pydantic.BaseModel):
    """What has been done."""

    status: Literal["paused", "resumed", "kv_cache_released"]


class SleepStatus(pydantic.BaseModel):
    """Answer of POST /sleep."""

    status: Literal["sleeping"]
    level: int


class WakeUpStatus(pydantic.BaseModel):
    """Answer of POST /wake_up: still `sleeping` while something has not been woken."""

    status: Literal["awake", "sleeping"]
    tags: list[str] | None


class IsPaused(pydantic.BaseModel):
    """Answer of GET /is_paused: true from /pause to /resume, and while the engine sleeps."""

    is_paused: bool


class IsSleeping(pydantic.BaseModel):
    """Answer of GET /is_sleeping; as in vLLM a paused engine sleeps too, at level 0."""

    is_sleeping: bool


class AbortedRequests(pydantic.BaseModel):
    """Answer of POST /abort_requests."""

    status: Literal["aborted"]
    aborted: int


class ResetResult(pydantic.BaseModel):
    """Answer of POST /reset_prefix_cache: false while running requests hold pages."""

    success: bool


class IsScaling(pydantic.BaseModel):
    """Answer of POST /is_scaling_elastic_ep."""

    is_scaling_elastic_ep: bool


class Message(pydantic.BaseModel):
    """Answer of POST /scale_elastic_ep."""

    message: str


class ServerInfo(pydantic.BaseModel):
    """Answer of GET /server_info, by vLLM's names: this server's choices, variables, versions."""

    vllm_config: str | dict[str, Any]
    vllm_env: dict[str, str]
    system_env: dict[str, Any]
