"""One route, as a row of a table."""

from __future__ import annotations

import dataclasses
from typing import Literal

Reach = Literal["public", "key", "metrics", "operator"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Endpoint:
    """One method of one path.

    Attributes:
        path: in OpenAPI's spelling, `/v1/models/{name}`.
        query, body, response: `module:class` of a pydantic model; "" = none.
        body_media: content type of the body.
        is_body_optional: no body means all defaults.
        error: the model of every answer that is no success.
        media: content type of a success without `response`.
        can_stream: answers `text/event-stream` when the body says `stream: true`.
        reach: who may call it: everyone, keys for inference, keys for metrics, operators' keys
            (on a server without keys the last two are for clients on its own machine).
    """

    method: Literal["GET", "POST", "DELETE"]
    path: str
    summary: str
    tag: str
    query: str = ""
    body: str = ""
    body_media: str = "application/json"
    is_body_optional: bool = False
    response: str = ""
    media: str = ""
    error: str = "api.endpoints.operation_schemas:ErrorEnvelope"
    can_stream: bool = False
    reach: Reach = "key"
