"""Messages in, steps, messages out: what turns a core into a server of several clients.

One turn takes in every message that has arrived, runs one step if there is work, and sends each
client one message with everything its sequences gained.
"""

from __future__ import annotations

import collections
import dataclasses
import logging
import secrets
from collections.abc import Iterable

from engine.commands import Suspension
from engine.controller import Controller, Facilities, Surroundings
from engine.core import EngineCore
from engine.error_info import error_info
from engine.errors import (
    EngineError,
    RequestError,
)
from engine.messages import (
    AbortRequests,
    AddRequest,
    Control,
    Done,
    Probe,
    ProbeReply,
    Ready,
    Refused,
    Shutdown,
    StepDeltas,
    Suspended,
    ToEngine,
)
from engine.request import ErrorInfo, FinishReason, GenerateRequest, ModelInfo, TokenDelta
from engine.transport.endpoint import ClientId, Endpoint, Incoming

IDLE_WAIT_S = 1.0
STALLED_WAIT_S = 0.01
"""Between looks at work that waits for a compilation or at a command that waits for a thread,
which need the processor more than we."""
SHUT_DOWN = ErrorInfo("EngineDiedError", "The engine was shut down.")

_logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True)
class _Live:
    """A request that the core has.

    Attributes:
        names: its id, and what clients know it by.
        open_sequences: those that have not finished.
    """

    client_id: ClientId
    names: frozenset[str]
    open_sequences: set[int]


class EngineService:
    """Serves one core to the clients of one endpoint. One thread calls it."""

    def __init__(
        self,
        core: EngineCore,
        endpoint: Endpoint,
        info: ModelInfo,
        facilities: Facilities | None = None,
    ) -> None:
        self._core = core
        self._endpoint = endpoint
        self._info = info
        self._engine_id = secrets.token_hex(8)
        surroundings = Surroundings(self._deliver, self._end_requests, self._announce)
        self._controller = Controller(core, facilities or Facilities(), surroundings)
        self._clients: set[ClientId] = set()
        self._live: dict[str, _Live] = {}
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
        self._controller.go_on()
        if self._controller.may_step and self._core.has_work():
            self._deliver(self._core.step())
        self._answer_probes()

    def _wait_s(self, idle_wait_s: float) -> float:
        if self._controller.may_step and self._core.has_work():
            return STALLED_WAIT_S if self._core.is_stalled else 0.0
        return min(STALLED_WAIT_S, idle_wait_s) if self._controller.is_busy else idle_wait_s

    # ---- messages in

    def _take_in(self, incoming: Incoming) -> None:
        if incoming.message is None:
            self._forget(incoming.client_id)
            return
        if incoming.client_id not in self._clients:
            self._clients.add(incoming.client_id)
            ready = Ready(self._info, self._engine_id, self._controller.suspension)
            self._endpoint.send(incoming.client_id, ready)
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
            case Control():
                self._begin(client_id, message)
            case Shutdown():
                self._is_stopping = True

    def _begin(self, client_id: ClientId, control: Control) -> None:
        def answer(value: int) -> None:
            self._endpoint.send(client_id, Done(control.call_id, value))

        def refuse(error: EngineError) -> None:
            self._endpoint.send(client_id, Refused(control.call_id, error_info(error)))

        self._controller.begin(control.command, answer, refuse)

    def _add(self, client_id: ClientId, request: GenerateRequest) -> None:
        try:
            self._controller.verify_admitting()
            if request.request_id in self._live:
                raise RequestError("A request with this id is running.", param="request_id")
            self._core.add(request)
        except Exception as error:
            if not isinstance(error, EngineError):
                _logger.exception("Request %s could not be taken in", request.request_id)
            self._refuse(client_id, request, error_info(error))
            return
        self._live[request.request_id] = _Live(
            client_id,
            frozenset((request.request_id, *request.names)),
            set(range(request.num_sequences)),
        )

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
        live = self._live.get(request_id)
        if live is None or live.client_id != client_id:
            return
        self._core.abort(request_id, sequence_indices)
        self._close_sequences(request_id, sequence_indices)

    def _close_sequences(self, request_id: str, sequence_indices: tuple[int, ...]) -> None:
        still_open = self._live[request_id].open_sequences
        still_open.difference_update(sequence_indices or tuple(still_open))
        if not still_open:
            del self._live[request_id]

    def _forget(self, client_id: ClientId) -> None:
        self._clients.discard(client_id)
        self._unproven = [entry for entry in self._unproven if entry[0] != client_id]
        owned = [key for key, live in self._live.items() if live.client_id == client_id]
        for request_id in owned:
            self._abort(client_id, request_id, ())

    # ---- messages out

    def _deliver(self, deltas: list[TokenDelta]) -> None:
        by_client: dict[ClientId, list[TokenDelta]] = collections.defaultdict(list)
        for delta in deltas:
            live = self._live.get(delta.request_id)
            if live is not None:
                by_client[live.client_id].append(delta)
        stats = self._core.stats
        for client_id, gained in by_client.items():
            self._endpoint.send(client_id, StepDeltas(tuple(gained), stats))
        for delta in deltas:
            if delta.finish_reason is not None and delta.request_id in self._live:
                self._close_sequences(delta.request_id, (delta.sequence_index,))

    def _answer_probes(self) -> None:
        unproven, self._unproven = self._unproven, []
        if not unproven:
            return
        may_launch = self._controller.may_launch
        step_age_s = self._core.prove_life() if may_launch else self._core.step_age_s
        for client_id, probe in unproven:
            reply = ProbeReply(probe.probe_id, step_age_s, self._core.stats)
            self._endpoint.send(client_id, reply)

    def _announce(self, suspension: Suspension) -> None:
        for client_id in self._clients:
            self._endpoint.send(client_id, Suspended(suspension))

    # ---- requests that end before their time

    def _end_requests(self, names: Iterable[str]) -> int:
        """See `engine.commands.EndRequests`."""
        wanted = frozenset(names)
        request_ids = [key for key, live in self._live.items() if not wanted or wanted & live.names]
        self._abort_with_deltas(request_ids, None)
        return len(request_ids)

    def _abort_everything(self) -> None:
        self._abort_with_deltas(list(self._live), SHUT_DOWN)

    def _abort_with_deltas(self, request_ids: list[str], error: ErrorInfo | None) -> None:
        deltas = [
            TokenDelta(
                request_id=request_id,
                sequence_index=sequence_index,
                finish_reason=FinishReason.ABORT,
                error=error,
            )
            for request_id in request_ids
            for sequence_index in sorted(self._live[request_id].open_sequences)
        ]
        for request_id in request_ids:
            self._core.abort(request_id)
        self._deliver(deltas)
