"""The client's side over ZeroMQ, on an asyncio loop: one DEALER, one session, no reconnecting.

A broken connection is never mended underneath (the engine behind it would be another one, with
none of our requests): it is reported, and whoever owns it makes a new one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
import zmq

from engine.messages import ToClient, ToEngine

NEVER_MS = 24 * 3600 * 1000
"""-1 would be "never", but then ZeroMQ drops what had arrived before the connection broke."""


class Connection:
    """Calls `on_message` for each message and `on_lost` once when the engine's end breaks."""

    def __init__(
        self,
        socket_path: str,
        on_message: Callable[[ToClient], None],
        on_lost: Callable[[], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_message = on_message
        self._on_lost = on_lost
        self._context = zmq.Context(io_threads=1)
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.set(zmq.RECONNECT_IVL, NEVER_MS)
        self._socket.set(zmq.SNDHWM, 0)
        self._socket.set(zmq.RCVHWM, 0)
        self._socket.set(zmq.LINGER, 0)
        broken = zmq.EVENT_DISCONNECTED | zmq.EVENT_CLOSED | zmq.EVENT_CONNECT_RETRIED
        self._monitor = self._socket.get_monitor_socket(broken)
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder[ToClient](ToClient)
        self._is_open = True
        self._files = (int(self._socket.get(zmq.FD)), int(self._monitor.get(zmq.FD)))
        for file in self._files:
            self._loop.add_reader(file, self._read)
        self._socket.connect(f"ipc://{socket_path}")
        self._loop.call_soon(self._read)

    def send(self, message: ToEngine) -> None:
        """Queue a message; dropped when the connection is closed or broken."""
        if not self._is_open:
            return
        self._socket.send(self._encoder.encode(message), zmq.NOBLOCK)
        # The file of a ZeroMQ socket is edge-triggered: sending may have taken an edge.
        self._loop.call_soon(self._read)

    def close(self) -> None:
        """Stop at once; `on_lost` is not called."""
        if not self._is_open:
            return
        self._is_open = False
        for file in self._files:
            self._loop.remove_reader(file)
        self._socket.disable_monitor()
        self._monitor.close(linger=0)
        self._socket.close(linger=0)
        self._context.term()

    def _read(self) -> None:
        self._read_messages()
        if self._is_open and _has_message(self._monitor):
            # What the engine said last may have arrived since we looked.
            self._read_messages()
            self._lose()

    def _lose(self) -> None:
        if self._is_open:
            self.close()
            self._on_lost()

    def _read_messages(self) -> None:
        while self._is_open and _has_message(self._socket):
            payload = self._socket.recv(zmq.NOBLOCK)
            # Empty messages only ask whether we are still here.
            if payload:
                self._on_message(self._decoder.decode(payload))


def _has_message(socket: zmq.Socket[bytes]) -> bool:
    # Asking also rearms the edge of the socket's file.
    return bool(int(socket.get(zmq.EVENTS)) & zmq.POLLIN)
