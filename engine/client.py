"""The engine as seen from an API worker: an async client that outlives the engine behind it.

    STARTING ── Ready ──> READY ── silent or gone ──> RESTARTING ── Ready ──> READY
        └── SetupError ──> FAILED <── too many restarts ──┘           close() ──> CLOSED

Requests given while no engine is ready wait here. When an engine is lost, those that had produced
nothing run again on the next one with the same seed, hence the same bytes; the others end with
EngineDiedError. Knows neither HTTP nor jax.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import logging
import time
from collections.abc import AsyncGenerator, Sequence

from engine import errors
from engine.calls import Calls
from engine.commands import Command, Suspension, commands_towards
from engine.config import (
    DEFAULT_MAX_NUM_QUEUED_REQUESTS,
    EngineConfig,
    max_num_queued_requests,
)
from engine.errors import EngineDiedError, SetupError
from engine.host import EngineHost, ForeignProcess, OwnedProcess
from engine.messages import (
    AbortRequests,
    AddRequest,
    Control,
    Done,
    Failed,
    Probe,
    ProbeReply,
    Ready,
    Refused,
    Shutdown,
    StepDeltas,
    Suspended,
    ToClient,
    ToEngine,
)
from engine.request import EngineStats, ErrorInfo, GenerateRequest, ModelInfo, TokenDelta
from engine.stats import StatsLedger
from engine.stream_table import StreamTable
from engine.streams import RequestStream, to_exception
from engine.transport.connection import Connection
from engine.watchdog import RestartPolicy, Restarts, Watchdog

TICKS_PER_TIMEOUT = 10
CLOSE_GRACE_S = 5.0
"""For running steps to end and last deltas to arrive after `Shutdown`."""
EXIT_GRACE_S = 1.0
"""For a process that has said all, or is dying, to exit by itself."""
DIED_TOO_OFTEN = "The engine died too often and is not restarted; see the log."

_logger = logging.getLogger(__name__)


class EngineState(enum.Enum):
    """See the module's picture."""

    STARTING = "starting"
    READY = "ready"
    RESTARTING = "restarting"
    FAILED = "failed"
    CLOSED = "closed"


class EngineClient:
    """Implements `engine.client_protocol.GenerationEngine`. Lives on one event loop."""

    def __init__(
        self,
        host: EngineHost,
        *,
        step_timeout_s: float,
        max_waiting_requests: int = DEFAULT_MAX_NUM_QUEUED_REQUESTS,
        restart_policy: RestartPolicy | None = None,
    ) -> None:
        self._host = host
        self._tick_s = min(1.0, step_timeout_s / TICKS_PER_TIMEOUT)
        self._step_timeout_s = step_timeout_s
        self._restarts = Restarts(restart_policy or RestartPolicy())
        self._state = EngineState.STARTING
        self._is_closing = False
        self._watchdog = Watchdog(tick_s=self._tick_s, timeout_s=step_timeout_s)
        self._connection: Connection | None = None
        self._session_ended = asyncio.Event()
        self._ready_or_final = asyncio.Event()
        self._final_error: Exception | None = None
        self._info: ModelInfo | None = None
        self._stats = StatsLedger()
        self._engine_id = ""
        self._suspension = Suspension()
        self._streams = StreamTable(max_waiting_requests, self._submit)
        self._calls = Calls()
        self._task = asyncio.create_task(self._live(), name="engine client")

    @classmethod
    async def start(
        cls, config: EngineConfig, *, restart_policy: RestartPolicy | None = None
    ) -> EngineClient:
        """Spawn an engine process and watch it; returns at once, see `wait_ready`."""
        return cls(
            OwnedProcess(config),
            step_timeout_s=config.step_timeout_s,
            max_waiting_requests=max_num_queued_requests(config),
            restart_policy=restart_policy,
        )

    @classmethod
    async def attach(cls, socket_path: str, *, step_timeout_s: float = 10.0) -> EngineClient:
        """Talk to an engine that another client owns (its `socket_path`)."""
        endless = RestartPolicy(max_restarts=1_000_000, max_delay_s=1.0)
        return cls(
            ForeignProcess(socket_path), step_timeout_s=step_timeout_s, restart_policy=endless
        )

    # ---- state

    @property
    def state(self) -> EngineState:
        """Where the engine stands; FAILED and CLOSED are final."""
        return self._state

    @property
    def is_ready(self) -> bool:
        """Whether an engine is there and has lately proved that it lives."""
        return self._state is EngineState.READY and self._watchdog.is_fresh

    @property
    def info(self) -> ModelInfo:
        """The loaded model. Raises EngineDiedError before the first engine is ready."""
        if self._info is None:
            raise EngineDiedError("the engine is not ready yet")
        return self._info

    @property
    def stats(self) -> EngineStats:
        """The newest counters the engine has sent; they start again with each engine."""
        return self._stats.newest

    @property
    def total_stats(self) -> EngineStats:
        """Counters summed over all engines there have been; gauges of the present one."""
        return self._stats.total

    @property
    def suspension(self) -> Suspension:
        """What is suspended in the engine. An engine of ours that is lost while it is suspended
        is brought back there when it has started again."""
        return self._suspension

    @property
    def num_restarts(self) -> int:
        """How often an engine was lost and another one started."""
        return self._restarts.num_restarts

    @property
    def process_id(self) -> int | None:
        """Of the present engine process; None when there is none or it is not ours."""
        return self._host.process_id

    @property
    def socket_path(self) -> str:
        """What `attach` of another worker needs."""
        return self._host.socket_path

    async def wait_ready(self) -> ModelInfo:
        """Wait until the engine can take requests.

        Raises:
            SetupError: the operator must change something.
            EngineDiedError: the engine died too often, or the client was closed.
        """
        await self._ready_or_final.wait()
        if self._final_error is not None:
            raise self._final_error
        return self.info

    # ---- requests

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[list[TokenDelta], None]:
        """See `GenerationEngine.generate`."""
        stream = self._open(request)
        try:
            while not stream.is_exhausted:
                if deltas := await stream.take():
                    yield deltas
        finally:
            self._streams.remove(request.request_id)
            if stream.is_open:
                self._send(AbortRequests((request.request_id,)))

    async def abort(self, request_id: str, sequence_indices: Sequence[int] = ()) -> None:
        """See `GenerationEngine.abort`; unknown ids are ignored."""
        if stream := self._streams.find(request_id):
            stream.drop_sequences(tuple(sequence_indices))
            self._send(AbortRequests((request_id,), tuple(sequence_indices)))

    async def probe(self, timeout_s: float) -> float:
        """See `GenerationEngine.probe`."""
        self._verify_engine_is_there()
        return await self._calls.ask(lambda number: self._send(Probe(number)), timeout_s)

    async def control(self, command: Command, timeout_s: float | None = None) -> int:
        """See `GenerationEngine.control`."""
        self._verify_engine_is_there()
        value = await self._calls.ask(
            lambda number: self._send(Control(number, command)), timeout_s
        )
        return int(value)

    async def close(self) -> None:
        """End the engine if it is ours, and every request; may be called twice."""
        if self._state is EngineState.CLOSED:
            return
        self._is_closing = True
        # An engine that is still starting has nothing to end, and would not hear it.
        if self._host.is_owner and self._state is EngineState.READY:
            self._send(Shutdown())
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._session_ended.wait(), CLOSE_GRACE_S)
        self._task.cancel()
        await asyncio.wait([self._task])
        await self._host.stop(EXIT_GRACE_S)
        self._finish(EngineState.CLOSED, EngineDiedError("the engine has been shut down"))
        self._host.close()

    def _open(self, request: GenerateRequest) -> RequestStream:
        if self._final_error is not None:
            raise EngineDiedError(str(self._final_error))
        stream = self._streams.open(request, self._info)
        if self._state is EngineState.READY:
            self._streams.submit(stream, self.info)
        return stream

    def _submit(self, request: GenerateRequest) -> None:
        self._send(AddRequest(request))

    def _send(self, message: ToEngine) -> None:
        if self._connection is not None:
            self._connection.send(message)

    def _verify_engine_is_there(self) -> None:
        if self._state is not EngineState.READY:
            raise EngineDiedError("there is no engine to ask")

    # ---- messages from the engine

    def _receive(self, message: ToClient) -> None:
        self._watchdog.heard()
        match message:
            case StepDeltas(deltas, stats):
                self._stats.note(stats)
                for delta in deltas:
                    self._streams.push(delta)
            case ProbeReply(probe_id, step_age_s, stats):
                self._stats.note(stats)
                self._calls.answer(probe_id, step_age_s)
            case Suspended(suspension):
                self._suspension = suspension
            case Done(call_id, value):
                self._calls.answer(call_id, value)
            case Refused(call_id, error):
                refusal = to_exception(error) or EngineDiedError(error.message)
                self._calls.fail(call_id, refusal)
            case Ready():
                self._stats.begin(message.engine_id)
                self._suspend_as_before(message)
                self._begin(message.info)
            case Failed(error):
                self._note_failure(error)

    def _begin(self, info: ModelInfo) -> None:
        # The engine has just met us: whatever an earlier one had of ours is lost.
        self._streams.end_lost()
        self._info = info
        self._state = EngineState.READY
        self._ready_or_final.set()
        self._streams.submit_all(info)

    def _suspend_as_before(self, ready: Ready) -> None:
        is_fresh, self._engine_id = ready.engine_id != self._engine_id, ready.engine_id
        if not (is_fresh and self._host.is_owner):
            self._suspension = ready.suspension
            return
        for command in commands_towards(self._suspension):
            self._send(Control(0, command))

    def _note_failure(self, error: ErrorInfo) -> None:
        kind: object = getattr(errors, error.kind, None)
        if isinstance(kind, type) and issubclass(kind, SetupError):
            self._final_error = kind(error.message)
        self._session_ended.set()

    # ---- the life of engines

    async def _live(self) -> None:
        while True:
            await self._live_once()
            if self._is_closing:
                return
            if self._final_error is not None:
                self._finish(EngineState.FAILED, self._final_error)
                return
            self._state = EngineState.RESTARTING
            delay_s = self._restarts.next_delay_s(time.monotonic())
            if delay_s is None:
                _logger.error("The engine %s. %s", self._host.ending, DIED_TOO_OFTEN)
                self._finish(EngineState.FAILED, EngineDiedError(DIED_TOO_OFTEN))
                return
            _logger.warning("The engine %s; it is restarted in %g s", self._host.ending, delay_s)
            await asyncio.sleep(delay_s)

    async def _live_once(self) -> None:
        grace_s = 0.0
        try:
            await self._host.start()
            await self._run_session()
            # Killed while it is dying, it could not say of what.
            grace_s = 0.0 if self._watchdog.is_frozen else EXIT_GRACE_S
        except EngineDiedError as error:
            _logger.debug("%s", error)
        except Exception:
            _logger.exception("The engine could not be started or watched")
        finally:
            await self._host.stop(grace_s)

    async def _run_session(self) -> None:
        self._session_ended.clear()
        self._watchdog = Watchdog(tick_s=self._tick_s, timeout_s=self._step_timeout_s)
        connection = Connection(self._host.socket_path, self._receive, self._session_ended.set)
        self._connection = connection
        try:
            await self._watch(connection)
        finally:
            self._connection = None
            connection.close()
            self._state = EngineState.RESTARTING
            self._ready_or_final.clear()
            self._stats.end()
            self._calls.fail_all(EngineDiedError("the engine ended"))
            self._streams.end_lost()

    async def _watch(self, connection: Connection) -> None:
        """Probe until the engine is gone or has been silent too long (only once it was ready)."""
        while not self._session_ended.is_set():
            connection.send(Probe(0))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._session_ended.wait(), self._tick_s)
            if self._state is EngineState.READY:
                self._watchdog.tick()
            if self._watchdog.is_frozen:
                _logger.warning("The engine has been silent for %g s", self._step_timeout_s)
                return

    def _finish(self, state: EngineState, error: Exception) -> None:
        self._state = state
        self._final_error = error
        self._calls.fail_all(EngineDiedError(str(error)))
        self._streams.end_all(ErrorInfo("EngineDiedError", str(error)))
        self._ready_or_final.set()
