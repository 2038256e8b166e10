"""The engine's side over ZeroMQ: a ROUTER on a Unix socket that clients' DEALERs connect to.

A vanished client is noticed in one of two ways: its connection breaks (the socket's monitor says
that somebody left, an empty message to everybody says who), or it has been silent for long.
"""

from __future__ import annotations

import logging
import time

import msgspec
import zmq
import zmq.utils.monitor

from engine.messages import ToClient, ToEngine
from engine.transport.endpoint import ClientId, Incoming

MAX_CLIENT_SILENCE_S = 60.0
"""Clients probe every second or so; one silent for longer than this is gone."""
MAX_QUEUED_MESSAGES = 20_000
"""Messages kept for a client that does not read; past that it is gone."""
CLOSE_LINGER_MS = 2_000

_logger = logging.getLogger(__name__)


class SocketEndpoint:
    """Binds `ipc://{socket_path}`; the folder's mode is what keeps strangers out."""

    def __init__(self, socket_path: str) -> None:
        self._context = zmq.Context(io_threads=1)
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.set(zmq.ROUTER_MANDATORY, 1)
        self._socket.set(zmq.SNDHWM, MAX_QUEUED_MESSAGES)
        self._socket.set(zmq.RCVHWM, MAX_QUEUED_MESSAGES)
        self._socket.set(zmq.LINGER, CLOSE_LINGER_MS)
        self._monitor = self._socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        self._socket.bind(f"ipc://{socket_path}")
        self._poller = zmq.Poller()
        self._poller.register(self._socket, zmq.POLLIN)
        self._poller.register(self._monitor, zmq.POLLIN)
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder[ToEngine](ToEngine)
        self._last_heard_s: dict[ClientId, float] = {}
        self._gone: list[ClientId] = []

    @property
    def client_ids(self) -> frozenset[ClientId]:
        """Everybody who is there."""
        return frozenset(self._last_heard_s)

    def receive(self, timeout_s: float) -> list[Incoming]:
        """See `Endpoint.receive`."""
        events = dict(self._poller.poll(0 if self._gone else int(timeout_s * 1000)))
        arrived = self._receive_all() if self._socket in events else []
        if self._monitor in events:
            self._find_the_gone()
        self._drop_the_silent()
        return arrived + self._report_the_gone()

    def send(self, client_id: ClientId, message: ToClient) -> None:
        """See `Endpoint.send`."""
        self._send(client_id, self._encoder.encode(message))

    def close(self) -> None:
        """See `Endpoint.close`."""
        self._socket.disable_monitor()
        self._monitor.close(linger=0)
        self._socket.close()
        self._context.term()

    def _receive_all(self) -> list[Incoming]:
        arrived: list[Incoming] = []
        now_s = time.monotonic()
        while True:
            try:
                client_id, payload = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return arrived
            self._last_heard_s[client_id] = now_s
            try:
                arrived.append(Incoming(client_id, self._decoder.decode(payload)))
            except msgspec.MsgspecError as error:
                _logger.error("A client sent what is no message: %s", error)
                self._lose(client_id)

    def _send(self, client_id: ClientId, payload: bytes) -> None:
        try:
            self._socket.send_multipart((client_id, payload), zmq.NOBLOCK)
        except zmq.Again:
            _logger.error("A client stopped reading; its requests are aborted")
            self._lose(client_id)
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
            self._lose(client_id)

    def _find_the_gone(self) -> None:
        while self._monitor.poll(0):
            zmq.utils.monitor.recv_monitor_message(self._monitor)
        for client_id in list(self._last_heard_s):
            self._send(client_id, b"")

    def _drop_the_silent(self) -> None:
        oldest_s = time.monotonic() - MAX_CLIENT_SILENCE_S
        for client_id, heard_s in list(self._last_heard_s.items()):
            if heard_s < oldest_s:
                self._lose(client_id)

    def _lose(self, client_id: ClientId) -> None:
        if self._last_heard_s.pop(client_id, None) is not None:
            self._gone.append(client_id)

    def _report_the_gone(self) -> list[Incoming]:
        gone, self._gone = self._gone, []
        return [Incoming(client_id, None) for client_id in gone]
