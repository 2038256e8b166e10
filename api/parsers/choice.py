"""Which formats a model speaks, from its config and chat template.

The template shows what the model was trained with, so it counts before the family's name.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from api.parsers.reasoning import FORMATS as REASONING_FORMATS
from api.parsers.reasoning import ReasoningFormat
from api.parsers.tools import FORMATS as TOOL_FORMATS
from api.parsers.tools import ToolFormat


class _Row(Protocol):
    @property
    def model_types(self) -> frozenset[str]: ...

    def is_in_template(self, chat_template: str | None) -> bool: ...


RowType = TypeVar("RowType", bound=_Row)


def native_tool_format(model_type: str | None, chat_template: str | None) -> ToolFormat | None:
    """The format of the model's tool calls; None if it is not known."""
    return _first(TOOL_FORMATS, model_type, chat_template)


def native_reasoning_format(
    model_type: str | None, chat_template: str | None
) -> ReasoningFormat | None:
    """The format of the model's thoughts; None if it is not known to think."""
    return _first(REASONING_FORMATS, model_type, chat_template)


def _first(
    rows: Sequence[RowType], model_type: str | None, chat_template: str | None
) -> RowType | None:
    for row in rows:
        if row.is_in_template(chat_template):
            return row
    for row in rows:
        if model_type in row.model_types:
            return row
    return None
