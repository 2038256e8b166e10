"""One item of the output as it grows: the events it makes, and what it is in the end."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, Protocol

from api.services.responses.objects.sealed import seal
from api.services.responses.objects.summary import summary_of

Event = dict[str, Any]
Item = dict[str, Any]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ItemStyle:
    """What a request wants of items.

    Attributes:
        summary: `auto`, `concise` or `detailed`; None: thoughts get no summary.
        is_sealed: reasoning items have `encrypted_content`.
    """

    summary: str | None = None
    is_sealed: bool = False


class OpenItem(Protocol):
    """An item that was begun.

    Attributes:
        is_whole: clients are told of it when it is complete, and of none that is not.
    """

    is_whole: bool

    def opening(self) -> Iterator[Event]:
        """Its first events."""
        ...

    def more(self, text: str, logprobs: list[Any]) -> Event | None:
        """It gained `text`."""
        ...

    def closing(self, status: str) -> Iterator[Event]:
        """Its last events, without `output_item.done`."""
        ...

    def item(self, status: str) -> Item:
        """What it is now."""
        ...


class OpenMessage:
    """The answer's text."""

    is_whole = False

    def __init__(self, item_id: str) -> None:
        self._id = item_id
        self._pieces: list[str] = []
        self._logprobs: list[Any] = []

    def opening(self) -> Iterator[Event]:
        """The part that the text goes into."""
        yield _of_part("response.content_part.added", self._id, part=self._part("", []))

    def more(self, text: str, logprobs: list[Any]) -> Event:
        """A piece of the text."""
        self._pieces.append(text)
        self._logprobs += logprobs
        return _of_part("response.output_text.delta", self._id, delta=text, logprobs=logprobs)

    def closing(self, status: str) -> Iterator[Event]:
        """The whole text, then the part."""
        text, scores = "".join(self._pieces), self._logprobs
        yield _of_part("response.output_text.done", self._id, text=text, logprobs=scores)
        yield _of_part("response.content_part.done", self._id, part=self._part(text, scores))

    def item(self, status: str) -> Item:
        """A message of the assistant."""
        text = "".join(self._pieces)
        is_begun = bool(self._pieces) or status != "in_progress"
        return {
            "id": self._id,
            "type": "message",
            "status": status,
            "role": "assistant",
            "content": [self._part(text, self._logprobs)] if is_begun else [],
        }

    @staticmethod
    def _part(text: str, logprobs: list[Any]) -> dict[str, Any]:
        return {"type": "output_text", "text": text, "annotations": [], "logprobs": logprobs}


class OpenReasoning:
    """The model's thoughts; their summary, if one is wanted, comes when they have ended."""

    is_whole = False

    def __init__(self, item_id: str, style: ItemStyle) -> None:
        self._id = item_id
        self._style = style
        self._pieces: list[str] = []

    def opening(self) -> Iterator[Event]:
        """The part that the thoughts go into."""
        yield _of_part("response.content_part.added", self._id, part=_thought(""))

    def more(self, text: str, logprobs: list[Any]) -> Event:
        """A piece of the thoughts."""
        self._pieces.append(text)
        return _of_part("response.reasoning_text.delta", self._id, delta=text)

    def closing(self, status: str) -> Iterator[Event]:
        """All of the thoughts, then what is said of them."""
        text = "".join(self._pieces)
        yield _of_part("response.reasoning_text.done", self._id, text=text)
        yield _of_part("response.content_part.done", self._id, part=_thought(text))
        for index, said in enumerate(self._summary()):
            yield from self._told(index, said)

    def item(self, status: str) -> Item:
        """A reasoning item."""
        text = "".join(self._pieces)
        is_begun = bool(text) or status != "in_progress"
        item: Item = {
            "id": self._id,
            "type": "reasoning",
            "status": status,
            "summary": [{"type": "summary_text", "text": said} for said in self._summary()],
            "content": [_thought(text)] if is_begun else [],
        }
        return (
            item | {"encrypted_content": seal("reasoning", text)} if self._style.is_sealed else item
        )

    def _summary(self) -> list[str]:
        return summary_of("".join(self._pieces), self._style.summary)

    def _told(self, index: int, said: str) -> Iterator[Event]:
        head = {"item_id": self._id, "summary_index": index}
        kind = "response.reasoning_summary"
        empty = {"type": "summary_text", "text": ""}
        yield {"type": f"{kind}_part.added", **head, "part": empty}
        yield {"type": f"{kind}_text.delta", **head, "delta": said}
        yield {"type": f"{kind}_text.done", **head, "text": said}
        yield {"type": f"{kind}_part.done", **head, "part": empty | {"text": said}}


class OpenCall:
    """A call of a function or of a custom tool."""

    is_whole = False

    def __init__(self, item_id: str, call_id: str, name: str, *, is_custom: bool) -> None:
        self._id = item_id
        self._call_id = call_id
        self._name = name
        self._is_custom = is_custom
        self._pieces: list[str] = []

    @property
    def _kind(self) -> str:
        return "custom_tool_call_input" if self._is_custom else "function_call_arguments"

    @property
    def _field(self) -> str:
        return "input" if self._is_custom else "arguments"

    def opening(self) -> Iterator[Event]:
        """Nothing: the item itself says which tool is called."""
        yield from ()

    def more(self, text: str, logprobs: list[Any]) -> Event:
        """A piece of the arguments."""
        self._pieces.append(text)
        return {"type": f"response.{self._kind}.delta", "item_id": self._id, "delta": text}

    def closing(self, status: str) -> Iterator[Event]:
        """All of the arguments."""
        done = {"type": f"response.{self._kind}.done", "item_id": self._id}
        named = {} if self._is_custom else {"name": self._name}
        yield done | named | {self._field: "".join(self._pieces)}

    def item(self, status: str) -> Item:
        """A call; who made the request answers it."""
        return {
            "id": self._id,
            "type": "custom_tool_call" if self._is_custom else "function_call",
            "status": status,
            "call_id": self._call_id,
            "name": self._name,
            self._field: "".join(self._pieces),
        }


def _of_part(kind: str, item_id: str, **members: Any) -> Event:
    """An event of an item's only part."""
    return {"type": kind, "item_id": item_id, "content_index": 0, **members}


def _thought(text: str) -> dict[str, Any]:
    return {"type": "reasoning_text", "text": text}
