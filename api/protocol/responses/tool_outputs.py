"""POST /v1/responses/{response_id}/tool_outputs: what tools gave, one or several at once."""

from __future__ import annotations

from typing import Annotated, Self

import pydantic

from api.protocol.base import RequestModel
from api.protocol.messages import TextPart
from api.protocol.responses.items import CallId

MAX_OUTPUTS = 512

Output = str | list[TextPart]


class _OfACall(RequestModel):
    """`tool_call_id` and `call_id` are two names of the same."""

    tool_call_id: CallId | None = None
    call_id: CallId | None = None

    @pydantic.model_validator(mode="after")
    def _has_one_name(self) -> Self:
        if self.tool_call_id is not None and self.call_id is not None:
            raise ValueError("expected one of tool_call_id and call_id")
        return self

    @property
    def of_call(self) -> str:
        """The call's id; "" if none was given."""
        return self.tool_call_id or self.call_id or ""


class ToolOutput(_OfACall):
    """What one call gave."""

    output: Output

    @pydantic.model_validator(mode="after")
    def _is_of_a_call(self) -> Self:
        if not self.of_call:
            raise ValueError("expected one of tool_call_id and call_id")
        return self


class ToolOutputsRequest(_OfACall):
    """The body: `tool_outputs`, or the members of one of them."""

    tool_outputs: (
        Annotated[list[ToolOutput], pydantic.Field(min_length=1, max_length=MAX_OUTPUTS)] | None
    ) = None
    output: Output | None = None
    stream: bool | None = False

    @pydantic.model_validator(mode="after")
    def _is_said_one_way(self) -> Self:
        if self.tool_outputs is not None and (self.of_call or self.output is not None):
            raise ValueError("expected tool_outputs or the members of one output, not both")
        return self
