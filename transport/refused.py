"""Who may not connect for a while: ZeroMQ's authentication protocol (ZeroMQ RFC 27) with addresses and nothing else.

libzmq asks before it reads anything but the handshake. A connection that is closed once it was accepted would have
filled memory before.
"""

from __future__ import annotations

import zmq

from protocol.endpoints import ip_of
from transport.loop import Loop

ENDPOINT = "inproc://zeromq.zap.01"
"""Where libzmq asks, of its own context."""
DOMAIN = b"peers"


class Refused:
    """Answers for the sockets of ``context`` that `watch` was called for; one in a context."""

    def __init__(self, loop: Loop, context: zmq.Context[zmq.Socket[bytes]]) -> None:
        self._loop = loop
        self._until: dict[str, float] = {}
        self._socket = context.socket(zmq.REP)
        self._socket.set(zmq.LINGER, 0)
        self._socket.bind(ENDPOINT)
        loop.add(self._socket, self._answer)

    def watch(self, listening: zmq.Socket[bytes]) -> None:
        """Before it is bound."""
        listening.set(zmq.ZAP_DOMAIN, DOMAIN)

    def add(self, address: str, seconds: float) -> None:
        """Nobody connects from the IP ``address`` for so long."""
        now = self._loop.now()
        self._until = {each: until for each, until in self._until.items() if until > now}
        self._until[address] = now + seconds

    def close(self) -> None:
        self._loop.remove(self._socket)
        self._socket.close()

    def _answer(self) -> None:
        while True:
            try:
                version, request, _, address, *_ = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            now = self._loop.now()
            refused = self._until.get(str(ip_of(address.decode()) or ""), now) > now
            verdict = [b"400", b"it said too much"] if refused else [b"200", b""]
            self._socket.send_multipart([version, request, *verdict, b"", b""], zmq.NOBLOCK)
