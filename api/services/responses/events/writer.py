"""What a choice gains becomes events of output items; a whole answer is what they add up to."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

from api.services.generation.reading import CallDelta, MessageDelta
from api.services.responses.mcp.toolbox import EMPTY
from api.services.responses.objects.ids import item_id
from api.services.responses.objects.open_items import (
    Event,
    Item,
    ItemStyle,
    OpenCall,
    OpenItem,
    OpenMessage,
    OpenReasoning,
)
from api.services.responses.objects.open_mcp_items import OpenApproval, OpenMcpCall


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
        toolbox: tools whose calls are not the client's to answer.
    """

    def __init__(self, response_id: str, style: ItemStyle) -> None:
        self._response_id = response_id
        self._style = style
        self._key: tuple[str, int] | None = None
        self._open: OpenItem | None = None
        self.items: list[Item] = []
        self.toolbox = EMPTY

    @property
    def opened(self) -> OpenItem | None:
        """The item that is not complete yet."""
        return self._open

    @property
    def shown(self) -> list[Item]:
        """Complete items, and the one that is open as far as it goes."""
        is_shown = self._open is not None and not self._open.is_whole
        return self.items + ([self._open.item("in_progress")] if self._open and is_shown else [])

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
                    yield from self._more(piece.text, logprobs)

    def close(self, status: str) -> Iterator[Event]:
        """End the open item, if there is one."""
        opened = self._open
        if opened is None or (opened.is_whole and status != "completed"):
            self._open = self._key = None
            return
        index = len(self.items)
        if opened.is_whole:
            yield from self._added(opened)
        for event in opened.closing(status):
            yield {**event, "output_index": index}
        self._open = self._key = None
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

    def next_id(self, kind: str) -> str:
        """The id of the next item."""
        return item_id(self._response_id, kind, len(self.items))

    def whole(self, opened: OpenItem, text: str = "") -> Iterator[Event]:
        """An item that the model does not write, from its beginning to its end."""
        yield from self._start(opened)
        if text:
            yield from self._more(text, [])
        yield from self.close("completed")

    def _begin(self, piece: _Piece) -> Iterator[Event]:
        yield from self._start(self._make(piece))
        self._key = piece.key

    def _start(self, opened: OpenItem) -> Iterator[Event]:
        self._open = opened
        if opened.is_whole:
            return
        yield from self._added(opened)
        for event in opened.opening():
            yield {**event, "output_index": len(self.items)}

    def _added(self, opened: OpenItem) -> Iterator[Event]:
        item = opened.item("in_progress")
        yield {"type": "response.output_item.added", "output_index": len(self.items), "item": item}

    def _more(self, text: str, logprobs: list[Any]) -> Iterator[Event]:
        assert self._open is not None
        event = self._open.more(text, logprobs)
        if event is not None:
            yield {**event, "output_index": len(self.items)}

    def _make(self, piece: _Piece) -> OpenItem:
        if piece.call is not None:
            return self._make_call(piece.call)
        kind = piece.key[0]
        new_id = self.next_id(kind)
        return OpenMessage(new_id) if kind == "message" else OpenReasoning(new_id, self._style)

    def _make_call(self, call: CallDelta) -> OpenItem:
        name = call.name or ""
        remote = self.toolbox.called(name)
        if remote is None:
            new_id = self.next_id("custom_tool_call" if call.is_custom else "function_call")
            return OpenCall(new_id, call.id or "", name, is_custom=call.is_custom)
        if remote.needs_approval:
            return OpenApproval(self.next_id("mcp_approval_request"), remote.label, remote.name)
        return OpenMcpCall(self.next_id("mcp_call"), remote.label, remote.name)


def _pieces(delta: MessageDelta) -> Iterator[_Piece]:
    if delta.reasoning:
        yield _Piece(("reasoning", 0), delta.reasoning)
    if delta.content:
        yield _Piece(("message", 0), delta.content)
    for call in delta.calls:
        yield _Piece(("call", call.index), call.arguments, call)
