"""What the API needs of an engine, whoever stands behind it: a process, a thread, or a test."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Protocol

from engine.commands import Command, Suspension
from engine.request import EngineStats, GenerateRequest, ModelInfo, TokenDelta


class GenerationEngine(Protocol):
    """An engine as seen from an API worker's event loop."""

    @property
    def info(self) -> ModelInfo:
        """The loaded model; constant from the moment the engine is ready."""
        ...

    @property
    def stats(self) -> EngineStats:
        """The newest counters the engine has sent; they start again with each engine process."""
        ...

    @property
    def total_stats(self) -> EngineStats:
        """`stats` with the counters of every earlier engine process added; they never fall."""
        ...

    @property
    def is_ready(self) -> bool:
        """Whether requests can be taken now."""
        ...

    @property
    def suspension(self) -> Suspension:
        """What is suspended in the engine."""
        ...

    def generate(self, request: GenerateRequest) -> AsyncGenerator[list[TokenDelta], None]:
        """Run a request.

        Each item is a non-empty list: everything the request's sequences gained since the last
        item, in order, possibly of several steps. The generator ends after each of the request's
        sequences had a delta with `finish_reason`. `aclose()` aborts what is unfinished.

        Raises (from the first `__anext__` on):
            OverloadedError: a bounded queue is full.
            SuspendedError: the engine is paused or asleep and refuses new requests.
            InvalidParameterError, ContextLengthError: the engine cannot honour the request.
            EngineDiedError: the engine process ended.
        """
        ...

    async def abort(self, request_id: str, sequence_indices: Sequence[int] = ()) -> None:
        """End these sequences of a request (all of them when empty). No delta answers."""
        ...

    async def control(self, command: Command, timeout_s: float | None = None) -> int:
        """Have a command carried out; the value that `engine.commands` says it answers.

        Raises:
            ConflictError: the engine is not in a state for it.
            TimeoutError: not done within `timeout_s` seconds; it goes on.
            EngineDiedError: there is no engine process, or it ended meanwhile.
        """
        ...

    async def probe(self, timeout_s: float) -> float:
        """Proof of life: seconds since a device step last completed.

        Raises:
            TimeoutError: no answer within `timeout_s` seconds.
            EngineDiedError: there is no engine process.
        """
        ...
