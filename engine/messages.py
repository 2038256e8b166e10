"""The messages between API workers and the engine process: tagged msgspec structs in msgpack.

    client → engine   AddRequest · AbortRequests · Probe · Control · Shutdown
    engine → client   Ready · StepDeltas · ProbeReply · Suspended · Done · Refused · Failed

The same objects go through an in-memory channel for tests and for `engine.LLM`.
"""

from __future__ import annotations

import msgspec

from engine.commands import Command, Suspension
from engine.request import EngineStats, ErrorInfo, GenerateRequest, ModelInfo, TokenDelta


class AddRequest(msgspec.Struct, frozen=True, tag=True):
    """Admit a request. Answered by deltas only; a refusal is a delta with `error`."""

    request: GenerateRequest


class AbortRequests(msgspec.Struct, frozen=True, tag=True):
    """End these requests; their pages are free before the next step. No delta answers.

    Attributes:
        sequence_indices: end only these sequences of the (single) request; empty = all.
    """

    request_ids: tuple[str, ...]
    sequence_indices: tuple[int, ...] = ()


class Probe(msgspec.Struct, frozen=True, tag=True):
    """Ask for proof of life. The engine answers from its step loop, after a real device step
    when it is idle."""

    probe_id: int


class Control(msgspec.Struct, frozen=True, tag=True):
    """An operator's command. Answered by `Done` or `Refused`, when it has been carried out."""

    call_id: int
    command: Command


class Shutdown(msgspec.Struct, frozen=True, tag=True):
    """End the process after the current step; running sequences end with ABORT."""


class Ready(msgspec.Struct, frozen=True, tag=True):
    """The smallest buckets are compiled and a real step has run.

    Attributes:
        engine_id: the same for every client and session of one engine, and of no other engine.
    """

    info: ModelInfo
    engine_id: str = ""
    suspension: Suspension = Suspension()


class StepDeltas(msgspec.Struct, frozen=True, tag=True):
    """Everything one step gave, for all sequences of this client."""

    deltas: tuple[TokenDelta, ...]
    stats: EngineStats


class ProbeReply(msgspec.Struct, frozen=True, tag=True):
    """`step_age_s` is the time since a device step last completed, in seconds."""

    probe_id: int
    step_age_s: float
    stats: EngineStats


class Suspended(msgspec.Struct, frozen=True, tag=True):
    """What is suspended has changed; sent to every client, before the answer to who caused it."""

    suspension: Suspension


class Done(msgspec.Struct, frozen=True, tag=True):
    """A call with a `call_id` has been carried out; `value` is what its command says."""

    call_id: int
    value: int = 0


class Refused(msgspec.Struct, frozen=True, tag=True):
    """A call with a `call_id` could not be carried out; the engine goes on."""

    call_id: int
    error: ErrorInfo


class Failed(msgspec.Struct, frozen=True, tag=True):
    """The engine cannot start or go on; it exits after sending this."""

    error: ErrorInfo


ToEngine = AddRequest | AbortRequests | Probe | Control | Shutdown
ToClient = Ready | StepDeltas | ProbeReply | Suspended | Done | Refused | Failed
