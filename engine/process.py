"""The engine process: `python -m engine.process`, told what to do by one line on standard input.

    listen → load → compile the smallest step → Ready → serve, while the other steps compile

It speaks through its socket only; standard output goes to standard error, where people look.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable

import msgspec

from engine.config import EngineConfig
from engine.error_info import error_info
from engine.errors import EngineDiedError, EngineError, SetupError
from engine.host import StartOrder
from engine.lifeline import die_with_parent
from engine.loading import Loaded, Report, load_engine
from engine.messages import Failed
from engine.progress import Progress
from engine.service import EngineService
from engine.transport.sockets import SocketEndpoint

EXIT_OK = 0
EXIT_DIED = 1
EXIT_SETUP = 78
"""sysexits.h: configuration error."""
FAREWELL_WAIT_S = 2.0
COMPILE_STACK_BYTES = 64 << 20
"""XLA's compiler recurses deeply; the default stack of a thread is too small for big models."""

_logger = logging.getLogger(__name__)


def main(load: Callable[[EngineConfig, Report], Loaded] = load_engine) -> int:
    """Run one engine; the exit status of the process."""
    order = msgspec.json.decode(sys.stdin.buffer.readline(), type=StartOrder)
    _prepare_process(order)
    # The socket listens, and the parent is watched, before jax takes its time.
    endpoint = SocketEndpoint(order.socket_path)
    try:
        loaded = load(order.config, Progress(sys.stderr).report)
        _compile_in_background(loaded)
        EngineService(loaded.core, endpoint, loaded.info, loaded.facilities).serve()
    except SetupError as error:
        _say_farewell(endpoint, error)
        return EXIT_SETUP
    except Exception as error:
        _logger.exception("The engine died")
        _say_farewell(endpoint, error)
        return EXIT_DIED
    finally:
        endpoint.close()
    return EXIT_OK


def _prepare_process(order: StartOrder) -> None:
    die_with_parent(order.parent_process_id, sys.stdin.buffer)
    # Signals sent to a whole group are for the parent, which ends its streams first and us last.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    logging.basicConfig(stream=sys.stderr, format="%(levelname)s engine: %(message)s")


def _compile_in_background(loaded: Loaded) -> None:
    previous = threading.stack_size(COMPILE_STACK_BYTES)
    thread = threading.Thread(target=_compile, args=(loaded,), name="compile", daemon=True)
    thread.start()
    threading.stack_size(previous)


def _compile(loaded: Loaded) -> None:
    try:
        loaded.warm_up()
    except Exception:
        _logger.exception("Larger steps could not be compiled; the engine runs with smaller ones")


def _say_farewell(endpoint: SocketEndpoint, error: Exception) -> None:
    """Tell every client that is there, or that comes in the next moments, why this ends."""
    info = error_info(error if isinstance(error, EngineError) else EngineDiedError(repr(error)))
    arrived = {incoming.client_id for incoming in endpoint.receive(FAREWELL_WAIT_S)}
    for client_id in arrived | endpoint.client_ids:
        endpoint.send(client_id, Failed(info))


if __name__ == "__main__":
    status = main()
    # Nothing is left to save, and a compile under way must not hold up the end.
    sys.stderr.flush()
    os._exit(status)
