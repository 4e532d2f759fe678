"""Who may connect: ZeroMQ's authentication protocol (ZeroMQ RFC 27), by the address of whoever asks and, in a network
with keys, by its key.

libzmq asks before it reads anything but the handshake. A connection that is closed once it was accepted would have
filled memory before. Where nobody answers, nobody connects: the sockets have a domain, and it is enforced. A thread
answers, so that nobody's handshake fails because the process is busy.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

import zmq

from protocol.endpoints import ip_of
from transport.curve import Keys, listen_as
from transport.loop import Loop
from transport.sockets import Role

ENDPOINT = "inproc://zeromq.zap.01"
"""Where libzmq asks, of its own context."""
_CURVE = b"CURVE"
_END = b""


class Access:
    """Answers for the sockets of ``context`` that `watch` was called for; one in a context. Without ``keys`` who has
    none may connect; the thread that answers asks ``keys`` otherwise."""

    def __init__(self, loop: Loop, context: zmq.Context[zmq.Socket[bytes]], keys: Keys | None) -> None:
        self._loop, self._keys = loop, keys
        self._until: dict[str, float] = {}
        self._socket = context.socket(zmq.REP)
        self._socket.set(zmq.LINGER, 0)
        self._socket.bind(ENDPOINT)
        self._thread = threading.Thread(target=self._answer, name="access")
        self._thread.start()

    def watch(self, listening: zmq.Socket[bytes], role: Role) -> None:
        """Before it is bound."""
        listening.set(zmq.ZAP_DOMAIN, role.encode())
        listening.set(zmq.ZAP_ENFORCE_DOMAIN, 1)
        if self._keys is not None:
            listen_as(listening, self._keys.own)

    def refuse(self, address: str, seconds: float) -> None:
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
            version, request, domain, address, _, mechanism, *credentials = asked
            key = self._key(domain, mechanism, credentials)
            now = self._loop.now()
            refused = self._until.get(str(ip_of(address.decode()) or ""), now) > now
            verdict = [b"400", b"not admitted"] if refused or key is None else [b"200", b""]
            user = b"" if refused or key is None else key.encode()
            self._socket.send_multipart([version, request, *verdict, user, b""])
        self._socket.close()

    def _key(self, domain: bytes, mechanism: bytes, credentials: Sequence[bytes]) -> str | None:
        """The key of whoever asks, empty where nobody has one; None when it is not let in."""
        if self._keys is None:
            return ""
        if mechanism != _CURVE or len(credentials) != 1:
            return None
        key = credentials[0].hex()
        return key if self._keys.may_connect(Role(domain.decode()), key) else None
