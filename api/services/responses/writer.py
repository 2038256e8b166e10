"""What a choice gains becomes events of output items; a whole answer is what they add up to."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

from api.services.reading import CallDelta, MessageDelta
from api.services.responses.ids import item_id
from api.services.responses.open_items import (
    Event,
    Item,
    ItemStyle,
    OpenCall,
    OpenItem,
    OpenMessage,
    OpenReasoning,
)


@dataclasses.dataclass(frozen=True, slots=True)
class _Piece:
    """More of one item: pieces with equal keys belong to one."""

    key: tuple[str, int]
    text: str
    call: CallDelta | None = None


class OutputWriter:
    """The output of one response.

    Attributes:
        items: those that are complete.
    """

    def __init__(self, response_id: str, style: ItemStyle) -> None:
        self._response_id = response_id
        self._style = style
        self._key: tuple[str, int] | None = None
        self._open: OpenItem | None = None
        self.items: list[Item] = []

    @property
    def shown(self) -> list[Item]:
        """Complete items, and the one that is open as far as it goes."""
        return self.items + ([] if self._open is None else [self._open.item("in_progress")])

    def take(self, deltas: Sequence[MessageDelta], logprobs: list[Any]) -> Iterator[Event]:
        """Events of what was gained.

        Arguments:
            logprobs: of the tokens that made it; only text carries them.
        """
        for delta in deltas:
            for piece in _pieces(delta):
                if piece.key != self._key:
                    yield from self.close("completed")
                    yield from self._begin(piece)
                if piece.text:
                    yield self._more(piece.text, logprobs)

    def close(self, status: str) -> Iterator[Event]:
        """End the open item, if there is one."""
        opened, self._open, self._key = self._open, None, None
        if opened is None:
            return
        index = len(self.items)
        for event in opened.closing(status):
            yield {**event, "output_index": index}
        item = opened.item(status)
        self.items.append(item)
        yield {"type": "response.output_item.done", "output_index": index, "item": item}

    def reopen(self, opened: OpenItem | None) -> None:
        """Go on with an item that another writer began."""
        self._open = opened

    def end(self, status: str) -> Iterator[Event]:
        """No more will come; an answer of nothing is an empty message."""
        if not self.items and self._open is None:
            yield from self._begin(_Piece(("message", 0), ""))
        yield from self.close(status)

    def add(self, item: Item) -> Iterator[Event]:
        """An item that is there at once, between others."""
        yield from self.close("completed")
        index = len(self.items)
        self.items.append(item)
        begun = item | {"status": "in_progress"} if "status" in item else item
        yield {"type": "response.output_item.added", "output_index": index, "item": begun}
        yield {"type": "response.output_item.done", "output_index": index, "item": item}

    def _begin(self, piece: _Piece) -> Iterator[Event]:
        self._key = piece.key
        opened = self._open = self._make(piece)
        index = len(self.items)
        item = opened.item("in_progress")
        yield {"type": "response.output_item.added", "output_index": index, "item": item}
        for event in opened.opening():
            yield {**event, "output_index": index}

    def _more(self, text: str, logprobs: list[Any]) -> Event:
        assert self._open is not None
        return {**self._open.more(text, logprobs), "output_index": len(self.items)}

    def _make(self, piece: _Piece) -> OpenItem:
        kind, call, index = piece.key[0], piece.call, len(self.items)
        if call is not None:
            kind = "custom_tool_call" if call.is_custom else "function_call"
        new_id = item_id(self._response_id, kind, index)
        if call is not None:
            return OpenCall(new_id, call.id or "", call.name or "", is_custom=call.is_custom)
        return OpenMessage(new_id) if kind == "message" else OpenReasoning(new_id, self._style)


def _pieces(delta: MessageDelta) -> Iterator[_Piece]:
    if delta.reasoning:
        yield _Piece(("reasoning", 0), delta.reasoning)
    if delta.content:
        yield _Piece(("message", 0), delta.content)
    for call in delta.calls:
        yield _Piece(("call", call.index), call.arguments, call)
