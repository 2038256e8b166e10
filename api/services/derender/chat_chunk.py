"""One event of a stream of tokens as one chunk of a chat."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, cast

from api.protocol.derender import DerenderChatStreamRequest, DerenderStreamState
from api.services.chat.job import ChatAnswer, given_if
from api.services.chat.message import stream_delta
from api.services.derender.answering import Answering
from api.services.derender.replay import Replay
from api.services.derender.tokens import count_prompt, usage_of_piece
from api.services.generation.events import chunk_head
from api.services.generation.reading import ChoiceReader, MessageDelta

Member = dict[str, Any]


def derender_chunk(answering: Answering, request: DerenderChatStreamRequest) -> Member:
    """The chunk, and the state for the next call.

    Raises:
        InvalidParameterError, ContextLengthError: the state or the event is at fault.
    """
    event, state = request.generate_chunk, request.stream_state or DerenderStreamState()
    answer = answering.answer
    replay = Replay(answer.context, answering.settings, request.stream_state, event)
    ids = _CallIds(state.last_tool_call_ids, answer.reading.make_call_id)
    chunk: Member = {**chunk_head(answer.identity, "chat.completion.chunk"), "choices": []}
    if replay.piece is not None:
        chunk["choices"] = [_choice(answer, replay, ids, is_first=not state.role_sent)]
    if event.usage is not None:
        num_prompt = count_prompt(request.prompt_tokens, len(answer.prompt.token_ids), event.usage)
        is_alone = len(replay.token_ids) == event.usage.completion_tokens
        num_reasoning = replay.num_reasoning_tokens if is_alone else 0
        chunk["usage"] = usage_of_piece(event.usage, num_prompt, num_reasoning).as_dict()
    if event.metrics is not None:
        chunk["metrics"] = event.metrics_body
    after = replay.state
    after.role_sent = state.role_sent or replay.piece is not None
    after.last_tool_call_ids = ids.made
    return {"chunk": chunk, "stream_state": after.model_dump()}


class _CallIds:
    """Ids for calls: those of earlier calls again, in their order, then new ones."""

    def __init__(self, known: Sequence[str], make: Callable[[], str]) -> None:
        self.made: list[str] = list(known)
        self._make = make
        self._num_given = 0

    def __call__(self) -> str:
        if self._num_given == len(self.made):
            self.made.append(self._make())
        self._num_given += 1
        return self.made[self._num_given - 1]


def _choice(answer: ChatAnswer, replay: Replay, ids: _CallIds, *, is_first: bool) -> Member:
    piece, ending = replay.piece, replay.ending
    assert piece is not None
    reader = ChoiceReader(dataclasses.replace(answer.reading, make_call_id=ids))
    for text in replay.texts_before:
        reader.read(text, is_last=False)
    deltas = reader.read(replay.text, is_last=ending is not None)
    delta: Member = {"role": answer.role, "content": answer.echoed} if is_first else {}
    for one in _shown(deltas, answer):
        delta = _joined(delta, one)
    reason = None if ending is None else ending.finish_reason
    return {
        "index": piece.index,
        "delta": delta,
        "logprobs": answer.logprobs(replay.entries),
        "finish_reason": answer.finish_reason(reason, reader.num_calls),
        "stop_reason": None if ending is None else ending.stop_reason,
        "token_ids": given_if(answer.request.return_token_ids, piece.token_ids or []),
    }


def _shown(deltas: Sequence[MessageDelta], answer: ChatAnswer) -> list[Member]:
    return [stream_delta(delta, is_legacy=answer.plan.is_legacy) for delta in deltas]


def _joined(first: Member, second: Member) -> Member:
    """Two deltas as one: texts and lists one after the other."""
    joined = dict(first)
    for name, value in second.items():
        known = joined.get(name)
        if known is None:
            joined[name] = value
        elif isinstance(known, dict):
            joined[name] = _joined(cast(Member, known), value)
        elif value is not None:
            joined[name] = known + value
    return joined
