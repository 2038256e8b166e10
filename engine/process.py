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

import msgspec

from engine.core import EngineCore
from engine.errors import EngineError, SetupError
from engine.host import StartOrder
from engine.lifeline import die_with_parent
from engine.messages import Failed
from engine.progress import Progress
from engine.request import ErrorInfo
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


def main() -> int:
    """Run one engine; the exit status of the process."""
    order = msgspec.json.decode(sys.stdin.buffer.readline(), type=StartOrder)
    _prepare_process(order)
    endpoint = SocketEndpoint(order.socket_path)
    try:
        _run(order, endpoint)
    except SetupError as error:
        _say_farewell(endpoint, ErrorInfo(type(error).__name__, str(error)))
        return EXIT_SETUP
    except Exception as error:
        _logger.exception("The engine died")
        message = str(error) if isinstance(error, EngineError) else type(error).__name__
        _say_farewell(endpoint, ErrorInfo("EngineDiedError", message))
        return EXIT_DIED
    finally:
        endpoint.close()
    return EXIT_OK


def _prepare_process(order: StartOrder) -> None:
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.basicConfig(stream=sys.stderr, format="%(levelname)s engine: %(message)s")
    die_with_parent(order.parent_process_id, sys.stdin.buffer)


def _run(order: StartOrder, endpoint: SocketEndpoint) -> None:
    # Imported here: the socket listens, and the parent is watched, before jax takes its time.
    from engine.loading import load_core

    with Progress(sys.stderr) as progress:
        loaded = load_core(order.config, progress)
        _compile_in_background(loaded.warm_up)
        EngineService(loaded.core, endpoint, loaded.info).serve()


def _say_farewell(endpoint: SocketEndpoint, error: ErrorInfo) -> None:
    """Tell every client that is there, or that comes in the next moments, why this ends."""
    clients = {incoming.client_id for incoming in endpoint.receive(FAREWELL_WAIT_S)}
    for client_id in clients | endpoint.client_ids:
        endpoint.send(client_id, Failed(error))


if __name__ == "__main__":
    sys.exit(main())
