"""Lists of items in pages, and what `include` adds to each."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from api.protocol.responses.queries import ItemsQuery
from api.services.responses.objects.sealed import seal
from api.storage.paging import no_such_item

Item = dict[str, Any]


def page_of_items(
    items: Sequence[Item], query: ItemsQuery, gone: Mapping[str, int] = MappingProxyType({})
) -> dict[str, Any]:
    """One page of a list that is all there.

    Arguments:
        gone: how many of the items come before one that was removed, by its id.

    Raises:
        APIError: 400, a cursor is, and was, no item of the list.
    """
    is_up = query.order == "asc"
    ordered = list(items) if is_up else list(reversed(items))
    # A cursor takes up [begin, end) of the list: one place, or none if it is gone.
    places = {item["id"]: (index, index + 1) for index, item in enumerate(ordered)}
    for item_id, num_before in gone.items():
        gap = num_before if is_up else len(ordered) - num_before
        places.setdefault(item_id, (gap, gap))
    start = 0 if query.after is None else _place(places, "after", query.after)[1]
    end = len(ordered) if query.before is None else _place(places, "before", query.before)[0]
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


def _place(places: Mapping[str, tuple[int, int]], name: str, item_id: str) -> tuple[int, int]:
    if item_id not in places:
        raise no_such_item(name)
    return places[item_id]
