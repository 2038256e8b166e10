"""Messages in, steps, messages out: what turns a core into a server of several clients.

One turn takes in every message that has arrived, runs one step if there is work, and sends each
client one message with everything its sequences gained.
"""

from __future__ import annotations

import collections
import logging
import secrets

from engine.core import EngineCore
from engine.errors import EngineError, OverloadedError, RequestError
from engine.messages import (
    AbortRequests,
    AddRequest,
    Done,
    Probe,
    ProbeReply,
    Ready,
    ResetPrefixCache,
    Shutdown,
    StepDeltas,
    ToEngine,
)
from engine.request import ErrorInfo, FinishReason, GenerateRequest, ModelInfo, TokenDelta
from engine.transport.endpoint import ClientId, Endpoint, Incoming

IDLE_WAIT_S = 1.0
STALLED_WAIT_S = 0.01
"""Between looks at work that waits for a compilation, which needs the processor more than we."""

_logger = logging.getLogger(__name__)


def error_info(error: Exception) -> ErrorInfo:
    """An exception as it travels. Texts of unplanned exceptions stay in the log."""
    if isinstance(error, OverloadedError):
        return ErrorInfo("OverloadedError", error.message, retry_after_s=error.retry_after_s)
    if isinstance(error, RequestError):
        return ErrorInfo(type(error).__name__, error.message, param=error.param, code=error.code)
    if isinstance(error, EngineError):
        return ErrorInfo(type(error).__name__, str(error))
    return ErrorInfo("SequenceError", f"{type(error).__name__} while taking in this request")


class EngineService:
    """Serves one core to the clients of one endpoint. One thread calls it."""

    def __init__(self, core: EngineCore, endpoint: Endpoint, info: ModelInfo) -> None:
        self._core = core
        self._endpoint = endpoint
        self._ready = Ready(info, engine_id=secrets.token_hex(8))
        self._clients: set[ClientId] = set()
        self._owners: dict[str, ClientId] = {}
        self._open_sequences: dict[str, set[int]] = {}
        self._unproven: list[tuple[ClientId, Probe]] = []
        self._is_stopping = False

    def serve(self) -> None:
        """Take turns until a client says `Shutdown`; what still runs then ends with ABORT.

        Raises:
            EngineDiedError: the device is beyond recovery.
        """
        while not self._is_stopping:
            self.turn(IDLE_WAIT_S)
        self._abort_everything()

    def turn(self, idle_wait_s: float) -> None:
        """One turn; without work it waits up to `idle_wait_s` seconds for a message."""
        for incoming in self._endpoint.receive(self._wait_s(idle_wait_s)):
            self._take_in(incoming)
        if self._core.has_work():
            self._deliver(self._core.step())
        self._answer_probes()

    def _wait_s(self, idle_wait_s: float) -> float:
        if not self._core.has_work():
            return idle_wait_s
        return STALLED_WAIT_S if self._core.is_stalled else 0.0

    # ---- messages in

    def _take_in(self, incoming: Incoming) -> None:
        if incoming.message is None:
            self._forget(incoming.client_id)
            return
        if incoming.client_id not in self._clients:
            self._clients.add(incoming.client_id)
            self._endpoint.send(incoming.client_id, self._ready)
        self._obey(incoming.client_id, incoming.message)

    def _obey(self, client_id: ClientId, message: ToEngine) -> None:
        match message:
            case AddRequest(request):
                self._add(client_id, request)
            case AbortRequests(request_ids, sequence_indices):
                for request_id in request_ids:
                    self._abort(client_id, request_id, sequence_indices)
            case Probe():
                self._unproven.append((client_id, message))
            case ResetPrefixCache(call_id):
                self._core.reset_prefix_cache()
                self._endpoint.send(client_id, Done(call_id))
            case Shutdown():
                self._is_stopping = True

    def _add(self, client_id: ClientId, request: GenerateRequest) -> None:
        try:
            if request.request_id in self._owners:
                raise RequestError("A request with this id is running.", param="request_id")
            self._core.add(request)
        except Exception as error:
            if not isinstance(error, EngineError):
                _logger.exception("Request %s could not be taken in", request.request_id)
            self._refuse(client_id, request, error_info(error))
            return
        self._owners[request.request_id] = client_id
        self._open_sequences[request.request_id] = set(range(request.num_sequences))

    def _refuse(self, client_id: ClientId, request: GenerateRequest, error: ErrorInfo) -> None:
        deltas = tuple(
            TokenDelta(
                request_id=request.request_id,
                sequence_index=sequence_index,
                finish_reason=FinishReason.ERROR,
                error=error,
            )
            for sequence_index in range(request.num_sequences)
        )
        self._endpoint.send(client_id, StepDeltas(deltas, self._core.stats))

    def _abort(
        self, client_id: ClientId, request_id: str, sequence_indices: tuple[int, ...]
    ) -> None:
        if self._owners.get(request_id) != client_id:
            return
        self._core.abort(request_id, sequence_indices)
        self._close_sequences(request_id, sequence_indices)

    def _close_sequences(self, request_id: str, sequence_indices: tuple[int, ...]) -> None:
        still_open = self._open_sequences[request_id]
        still_open.difference_update(sequence_indices or tuple(still_open))
        if not still_open:
            del self._open_sequences[request_id]
            del self._owners[request_id]

    def _forget(self, client_id: ClientId) -> None:
        self._clients.discard(client_id)
        self._unproven = [entry for entry in self._unproven if entry[0] != client_id]
        owned = [request_id for request_id, owner in self._owners.items() if owner == client_id]
        for request_id in owned:
            self._abort(client_id, request_id, ())

    # ---- messages out

    def _deliver(self, deltas: list[TokenDelta]) -> None:
        by_client: dict[ClientId, list[TokenDelta]] = collections.defaultdict(list)
        for delta in deltas:
            owner = self._owners.get(delta.request_id)
            if owner is not None:
                by_client[owner].append(delta)
        stats = self._core.stats
        for client_id, gained in by_client.items():
            self._endpoint.send(client_id, StepDeltas(tuple(gained), stats))
        for delta in deltas:
            if delta.finish_reason is not None and delta.request_id in self._owners:
                self._close_sequences(delta.request_id, (delta.sequence_index,))

    def _answer_probes(self) -> None:
        unproven, self._unproven = self._unproven, []
        if not unproven:
            return
        step_age_s = self._core.prove_life()
        for client_id, probe in unproven:
            reply = ProbeReply(probe.probe_id, step_age_s, self._core.stats)
            self._endpoint.send(client_id, reply)

    def _abort_everything(self) -> None:
        deltas = [
            TokenDelta(
                request_id=request_id,
                sequence_index=sequence_index,
                finish_reason=FinishReason.ABORT,
            )
            for request_id, still_open in self._open_sequences.items()
            for sequence_index in sorted(still_open)
        ]
        for request_id in list(self._owners):
            self._core.abort(request_id)
        self._deliver(deltas)
