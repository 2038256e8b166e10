"""What fits the model's context. `truncation: "auto"`: the oldest turns go until the rest does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from api.protocol.messages import Message
from api.protocol.responses.items import MessageItem
from api.services.chat.job import ChatJob
from api.services.responses.request.conversion import Told
from engine.errors import ContextLengthError

Result = TypeVar("Result")
Attempt = Callable[[Sequence[Told]], Awaitable[Result]]


async def fitting(attempt: Attempt[Result], conversation: Sequence[Told]) -> Result:
    """`attempt` with as much of the end of a conversation as fits; whole turns are kept or dropped.

    Raises:
        ContextLengthError: not even the last turn fits.
    """
    try:
        return await attempt(conversation)
    except ContextLengthError as error:
        too_long = error
    # of `cuts`, [0, low) are known not to fit; `found` is what the best known one gave
    cuts = [index for index, each in enumerate(conversation) if index and _begins_turn(each)]
    low, high, found = 0, len(cuts), None
    while low < high:
        middle = (low + high) // 2
        try:
            found, high = await attempt(_from(conversation, cuts[middle])), middle
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


def _from(conversation: Sequence[Told], cut: int) -> list[Told]:
    """What there is from `cut` on; what the system said before stays."""
    kept = [each for each in conversation[:cut] if _role(each) in {"system", "developer"}]
    return [*kept, *conversation[cut:]]


def _begins_turn(told: Told) -> bool:
    return _role(told) == "user"


def _role(told: Told) -> str:
    said = told if isinstance(told, Message) else told.item
    return said.role if isinstance(said, Message | MessageItem) else ""
