"""What fits the model's context. `truncation: "auto"`: the oldest items go until the rest does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from api.protocol.responses.items import MessageItem
from api.services.chat.job import ChatJob
from api.services.responses.request.conversion import Placed
from engine.errors import ContextLengthError

Result = TypeVar("Result")
Attempt = Callable[[Sequence[Placed]], Awaitable[Result]]


async def fitting(attempt: Attempt[Result], items: Sequence[Placed]) -> Result:
    """`attempt` with as many of the newest items as fit; whole turns are kept or dropped.

    Raises:
        ContextLengthError: not even the last turn fits.
    """
    try:
        return await attempt(items)
    except ContextLengthError as error:
        too_long = error
    # of `cuts`, [0, low) are known not to fit; `found` is what the best known one gave
    cuts = [index for index, each in enumerate(items) if index and _begins_turn(each)]
    low, high, found = 0, len(cuts), None
    while low < high:
        middle = (low + high) // 2
        try:
            found, high = await attempt(_from(items, cuts[middle])), middle
        except ContextLengthError:
            low = middle + 1
    if found is None:
        raise too_long
    return found


async def within_room(make: Callable[[int], Awaitable[ChatJob]], left: int) -> ChatJob:
    """A turn after what tools gave: of the tokens that the response may still generate, as many as
    there is room for beside that.

    Raises:
        ContextLengthError: there is room for none.
    """
    try:
        return await make(left)
    except ContextLengthError:
        shortest = await make(1)
    longest = shortest.context.engine.info.max_model_len
    room = longest - len(shortest.generation.request.prompt_token_ids)
    return await make(min(left, room))


def _from(items: Sequence[Placed], cut: int) -> list[Placed]:
    """The items from `cut` on; what the system said before stays."""
    kept = [each for each in items[:cut] if _role(each) in {"system", "developer"}]
    return [*kept, *items[cut:]]


def _begins_turn(placed: Placed) -> bool:
    return _role(placed) == "user"


def _role(placed: Placed) -> str:
    return placed.item.role if isinstance(placed.item, MessageItem) else ""
