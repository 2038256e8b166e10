"""Lists of items in pages, and what `include` adds to each."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from api.protocol.responses.queries import ItemsQuery
from api.services.responses.sealed import seal
from api.storage.paging import no_such_item

Item = dict[str, Any]


def page_of_items(items: Sequence[Item], query: ItemsQuery) -> dict[str, Any]:
    """One page of a list that is all there.

    Raises:
        APIError: 400, a cursor is no item of the list.
    """
    ordered = list(items) if query.order == "asc" else list(reversed(items))
    start = 0 if query.after is None else _place(ordered, "after", query.after) + 1
    end = len(ordered) if query.before is None else _place(ordered, "before", query.before)
    if query.before is not None and query.after is None:
        start = max(0, end - query.limit)
    shown = ordered[start:end][: query.limit]
    has_more = start > 0 if query.before is not None else end - start > query.limit
    return item_list([included(item, query.include or ()) for item in shown], has_more=has_more)


def item_list(items: Sequence[Item], *, has_more: bool) -> dict[str, Any]:
    """A list as OpenAI writes it."""
    return {
        "object": "list",
        "data": list(items),
        "first_id": items[0]["id"] if items else None,
        "last_id": items[-1]["id"] if items else None,
        "has_more": has_more,
    }


def included(item: Item, include: Collection[str]) -> Item:
    """An item with what a query asks for besides what is kept."""
    if item.get("type") != "reasoning" or "reasoning.encrypted_content" not in include:
        return item
    text = "".join(part["text"] for part in item.get("content") or ())
    return {**item, "encrypted_content": item.get("encrypted_content") or seal("reasoning", text)}


def _place(items: Sequence[Item], name: str, item_id: str) -> int:
    for index, item in enumerate(items):
        if item["id"] == item_id:
            return index
    raise no_such_item(name)
