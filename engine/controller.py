"""Carries out operators' commands between steps: pause, sleep, wake up, abort, profile.

A command is a procedure: a generator that gives way when it must wait, for requests to end or for
a thread that moves weights, and is looked at again every turn. Meanwhile the engine goes on
answering, so that a slow command is not taken for a hanging engine.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import logging
from collections.abc import Callable, Generator, Iterable

import msgspec

from engine.commands import (
    Command,
    EndRequests,
    Pause,
    PauseMode,
    ReleasePages,
    ResetPrefixCache,
    Resume,
    Sleep,
    StartProfile,
    StopProfile,
    Suspension,
    WakeTag,
    WakeUp,
)
from engine.core import EngineCore
from engine.core_protocol import DeviceMemory, Profiler
from engine.errors import ConflictError, EngineDiedError, EngineError, SuspendedError
from engine.request import TokenDelta

Procedure = Generator[None, None, int]
"""Yields while it must wait; returns the value of the answer."""

_logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Facilities:
    """What commands work on besides the core; None = this engine has none."""

    memory: DeviceMemory | None = None
    profiler: Profiler | None = None


@dataclasses.dataclass(frozen=True)
class Surroundings:
    """What commands do to the service around the core.

    Attributes:
        deliver: hand deltas to whom they belong.
        end_requests: end requests by the names of `EndRequests`; how many there were.
        announce: tell every client what is suspended now.
    """

    deliver: Callable[[list[TokenDelta]], None]
    end_requests: Callable[[Iterable[str]], int]
    announce: Callable[[Suspension], None]


@dataclasses.dataclass(frozen=True)
class _Running:
    procedure: Procedure
    on_done: Callable[[int], None]
    on_refused: Callable[[EngineError], None]


class Controller:
    """One thread calls it; see the module docstring.

    Attributes:
        suspension: what is suspended now.
    """

    def __init__(
        self, core: EngineCore, facilities: Facilities, surroundings: Surroundings
    ) -> None:
        self._core = core
        self._facilities = facilities
        self._surroundings = surroundings
        self._running: list[_Running] = []
        self._is_moving = False
        self._thread = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="commands")
        self.suspension = Suspension()

    @property
    def may_step(self) -> bool:
        """Whether the loop may plan and launch."""
        return self.may_launch and self.suspension.mode in (None, PauseMode.WAIT)

    @property
    def may_launch(self) -> bool:
        """Whether the device has all that a step needs, be it an empty one."""
        return self.suspension.is_device_whole and not self._is_moving

    @property
    def is_busy(self) -> bool:
        """Whether a command is under way, and wants a look every few milliseconds."""
        return bool(self._running)

    def verify_admitting(self) -> None:
        """Raise SuspendedError while new requests are refused."""
        if self.suspension.is_refusing:
            state = "asleep" if not self.suspension.is_device_whole else "paused"
            raise SuspendedError(f"The engine is {state} and takes no requests now.")

    def begin(
        self,
        command: Command,
        on_done: Callable[[int], None],
        on_refused: Callable[[EngineError], None],
    ) -> None:
        """Start a command; one of the two is called when it ends, maybe at once."""
        self._running.append(_Running(self._procedure(command), on_done, on_refused))
        self.go_on()

    def go_on(self) -> None:
        """Look at every command under way.

        Raises:
            EngineDiedError: the device is beyond recovery.
        """
        under_way, self._running = self._running, []
        self._running += [each for each in under_way if self._is_unfinished(each)]

    def _is_unfinished(self, running: _Running) -> bool:
        try:
            next(running.procedure)
        except StopIteration as ended:
            running.on_done(ended.value)
        except EngineDiedError:
            raise
        except ConflictError as error:
            running.on_refused(error)
        except EngineError as error:
            running.on_refused(ConflictError(str(error), code="command_failed"))
        except Exception as error:
            _logger.exception("A command failed")
            failed = f"It failed: {type(error).__name__}; the engine's log says more."
            running.on_refused(ConflictError(failed, code="command_failed"))
        else:
            return True
        return False

    def _procedure(self, command: Command) -> Procedure:
        match command:
            case Pause(mode, clear_cache):
                procedure = self._pause(
                    mode, clears_cache=clear_cache and mode is not PauseMode.KEEP
                )
            case Resume():
                procedure = self._resume()
            case Sleep(level, mode):
                procedure = self._sleep(level, mode)
            case WakeUp(tags):
                procedure = self._alone(self._wake_up(frozenset(tags or WakeTag)))
            case ReleasePages():
                procedure = self._alone(self._release_pages())
            case ResetPrefixCache(includes_running):
                procedure = self._reset_prefix_cache(includes_running=includes_running)
            case EndRequests(names):
                procedure = self._end_requests(names)
            case StartProfile():
                procedure = self._in_thread(lambda: self._profiler().start())
            case StopProfile():
                procedure = self._in_thread(lambda: self._profiler().stop())
        return procedure

    # ---- scheduling

    def _pause(self, mode: PauseMode, *, clears_cache: bool) -> Procedure:
        has_frozen = self._core.num_live_sequences and not self.suspension.is_device_whole
        if mode is PauseMode.WAIT and has_frozen:
            raise ConflictError(
                "Requests that stand still in a sleeping engine cannot run to their end.",
                code="engine_asleep",
            )
        self._change(mode=mode)
        self._surroundings.deliver(self._core.drain_device())
        if mode is PauseMode.ABORT:
            self._surroundings.end_requests(())
        while self.suspension.mode is PauseMode.WAIT and self._core.num_live_sequences:
            yield
        if not self.suspension.is_paused:
            raise ConflictError(
                "Generation was resumed before its requests had ended.", code="resumed"
            )
        if mode is PauseMode.WAIT and self._core.num_live_sequences:
            raise ConflictError(
                "Generation was paused otherwise before its requests had ended.", code="overtaken"
            )
        if clears_cache:
            self._core.reset_prefix_cache()
        return 0

    def _resume(self) -> Procedure:
        if not self.may_launch:
            raise ConflictError("The engine is asleep: wake it up instead.", code="engine_asleep")
        self._change(mode=None)
        return 0
        yield  # makes it a procedure

    def _end_requests(self, names: tuple[str, ...]) -> Procedure:
        return self._surroundings.end_requests(names)
        yield  # makes it a procedure

    def _reset_prefix_cache(self, *, includes_running: bool) -> Procedure:
        self._surroundings.deliver(self._core.drain_device())
        if includes_running:
            self._core.recompute_all()
        self._core.reset_prefix_cache()
        return int(self._core.stats.num_free_pages == self._core.stats.num_pages)
        yield  # makes it a procedure

    # ---- the device's memory

    def _sleep(self, level: int, mode: PauseMode) -> Procedure:
        yield from self._pause(mode, clears_cache=level > 0)
        if level == 0:
            return 0
        return (yield from self._alone(self._free(self._memory(), level)))

    def _free(self, memory: DeviceMemory, level: int) -> Procedure:
        self._verify_standing_still()
        if level < self.suspension.sleep_level:
            raise ConflictError("The weights were dropped before: level 2.", code="engine_asleep")
        self._core.recompute_all()
        if self.suspension.has_pages:
            yield from self._in_thread(memory.release_pages)
            self._change(has_pages=False)
        yield from self._in_thread(lambda: memory.release_weights(keeps_copy=level == 1))
        self._change(sleep_level=level)
        return 0

    def _release_pages(self) -> Procedure:
        memory = self._memory()
        self._verify_standing_still()
        if self.suspension.has_pages:
            self._core.recompute_all()
            yield from self._in_thread(memory.release_pages)
            self._change(has_pages=False)
        return 0

    def _wake_up(self, tags: frozenset[WakeTag]) -> Procedure:
        if self.suspension.sleep_level and WakeTag.WEIGHTS in tags:
            yield from self._in_thread(self._memory().restore_weights)
            self._change(sleep_level=0)
        if not self.suspension.has_pages and WakeTag.KV_CACHE in tags:
            yield from self._in_thread(self._memory().restore_pages)
            self._change(has_pages=True)
        if self.suspension.is_device_whole:
            self._change(mode=None)
        return int(self.suspension.is_paused)

    def _alone(self, procedure: Procedure) -> Procedure:
        """Change the device's memory when no other command does, and while nothing is launched."""
        while self._is_moving:
            yield
        self._is_moving = True
        try:
            return (yield from procedure)
        finally:
            self._is_moving = False

    def _verify_standing_still(self) -> None:
        is_draining = self.suspension.mode is PauseMode.WAIT and self._core.num_live_sequences
        if is_draining or not self.suspension.is_paused:
            raise ConflictError("The engine is running: pause it first.", code="engine_running")

    def _in_thread(self, work: Callable[[], None]) -> Procedure:
        future = self._thread.submit(work)
        while not future.done():
            yield
        future.result()
        return 0

    def _memory(self) -> DeviceMemory:
        if self._facilities.memory is None:
            raise ConflictError("This engine's memory cannot be freed.", code="not_supported")
        return self._facilities.memory

    def _profiler(self) -> Profiler:
        if self._facilities.profiler is None:
            raise ConflictError(
                "No folder for profiles is configured: --profiler-config.",
                code="profiler_not_configured",
            )
        return self._facilities.profiler

    def _change(self, **fields: object) -> None:
        self.suspension = msgspec.structs.replace(self.suspension, **fields)
        self._surroundings.announce(self.suspension)
