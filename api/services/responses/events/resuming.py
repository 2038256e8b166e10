"""A response that is made a second time goes on where the first worker's events ended.

The same request gives the same bytes, and ids follow from the response's: only where deltas are
cut may differ. So other events are counted, and of texts what was written down is left out.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Sequence

from api.errors import APIError
from api.services.responses.objects.open_items import Event

Events = AsyncGenerator[list[Event], None]


async def resumed(events: Events, known: Sequence[Event]) -> Events:
    """`events` without those `known`, with the numbers that follow.

    Raises:
        APIError: 500, what is made now is not what was made before.
    """
    rest = _Rest(known)
    async with contextlib.aclosing(events):
        async for ready in events:
            fresh = [event for each in ready if (event := rest.of(each)) is not None]
            if fresh:
                yield fresh


class _Rest:
    def __init__(self, known: Sequence[Event]) -> None:
        self._num_known = sum(not _is_delta(event) for event in known)
        self._texts: dict[tuple[str, str], str] = {}
        self._num_scores: dict[tuple[str, str], int] = {}
        self._number = len(known)
        for event in filter(_is_delta, known):
            key = _key(event)
            self._texts[key] = self._texts.get(key, "") + event["delta"]
            scores = len(event.get("logprobs") or ())
            self._num_scores[key] = self._num_scores.get(key, 0) + scores

    def of(self, event: Event) -> Event | None:
        """What is new of an event."""
        if _is_delta(event):
            event = self._beyond(event)
            if not event["delta"]:
                return None
        elif self._num_known:
            self._num_known -= 1
            return None
        self._number += 1
        return event | {"sequence_number": self._number - 1}

    def _beyond(self, event: Event) -> Event:
        key = _key(event)
        text, delta = self._texts.get(key, ""), event["delta"]
        size = min(len(text), len(delta))
        if text[:size] != delta[:size]:
            raise APIError("The response could not be continued.", status=500, code="server_error")
        self._texts[key] = text[size:]
        if "logprobs" not in event:
            return event | {"delta": delta[size:]}
        skipped = min(self._num_scores.get(key, 0), len(event["logprobs"]))
        self._num_scores[key] = self._num_scores.get(key, 0) - skipped
        return event | {"delta": delta[size:], "logprobs": event["logprobs"][skipped:]}


def _is_delta(event: Event) -> bool:
    return event["type"].endswith(".delta")


def _key(event: Event) -> tuple[str, str]:
    return event["type"], f"{event['item_id']}:{event.get('summary_index')}"
