"""POST /v1/responses/{response_id}/tool_outputs: what tools gave, one or several at once."""

from __future__ import annotations

from typing import Annotated

import pydantic

from api.protocol.base import RequestModel
from api.protocol.messages import TextPart
from api.protocol.responses.items import CallId

MAX_OUTPUTS = 512

Output = str | list[TextPart]


class ToolOutput(RequestModel):
    """What one call gave; `tool_call_id` and `call_id` are two names of the same."""

    tool_call_id: CallId | None = None
    call_id: CallId | None = None
    output: Output

    @pydantic.model_validator(mode="after")
    def _is_of_a_call(self) -> ToolOutput:
        if (self.tool_call_id is None) == (self.call_id is None):
            raise ValueError("expected one of tool_call_id and call_id")
        return self

    @property
    def of_call(self) -> str:
        """The call's id."""
        return self.tool_call_id or self.call_id or ""


class ToolOutputsRequest(RequestModel):
    """The body: `tool_outputs`, or the members of one of them."""

    tool_outputs: (
        Annotated[list[ToolOutput], pydantic.Field(min_length=1, max_length=MAX_OUTPUTS)] | None
    ) = None
    tool_call_id: CallId | None = None
    call_id: CallId | None = None
    output: Output | None = None
    stream: bool | None = False
