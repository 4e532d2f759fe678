"""Who may not connect for a while: ZeroMQ's authentication protocol (ZeroMQ RFC 27) with addresses and nothing else.

libzmq asks before it reads anything but the handshake. A connection that is closed once it was accepted would have
filled memory before. A thread answers, so that nobody's handshake fails because the process is busy.
"""

from __future__ import annotations

import threading

import zmq

from protocol.endpoints import ip_of
from transport.loop import Loop

ENDPOINT = "inproc://zeromq.zap.01"
"""Where libzmq asks, of its own context."""
_END = b""
DOMAIN = b"peers"


class Refused:
    """Answers for the sockets of ``context`` that `watch` was called for; one in a context."""

    def __init__(self, loop: Loop, context: zmq.Context[zmq.Socket[bytes]]) -> None:
        self._loop = loop
        self._until: dict[str, float] = {}
        self._socket = context.socket(zmq.REP)
        self._socket.set(zmq.LINGER, 0)
        self._socket.bind(ENDPOINT)
        self._thread = threading.Thread(target=self._answer, name="refused")
        self._thread.start()

    def watch(self, listening: zmq.Socket[bytes]) -> None:
        """Before it is bound."""
        listening.set(zmq.ZAP_DOMAIN, DOMAIN)

    def add(self, address: str, seconds: float) -> None:
        """Nobody connects from the IP ``address`` for so long."""
        now = self._loop.now()
        self._until = {each: until for each, until in self._until.items() if until > now}
        self._until[address] = now + seconds

    def close(self) -> None:
        with self._socket.context.socket(zmq.REQ) as end:
            end.set(zmq.LINGER, -1)  # until it was taken
            end.connect(ENDPOINT)
            end.send(_END)
            self._thread.join()

    def _answer(self) -> None:
        while (asked := self._socket.recv_multipart()) != [_END]:
            version, request, _, address, *_ = asked
            now = self._loop.now()
            refused = self._until.get(str(ip_of(address.decode()) or ""), now) > now
            verdict = [b"400", b"it said too much"] if refused else [b"200", b""]
            self._socket.send_multipart([version, request, *verdict, b"", b""])
        self._socket.close()
