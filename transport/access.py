"""Who may connect: ZeroMQ's authentication protocol (ZeroMQ RFC 27), by the address of whoever asks and, in a network
with keys, by its key.

libzmq asks before it reads anything but the handshake; a connection that is closed only after that could have filled
memory before. While nobody answers, nobody connects: the sockets have a domain, and it is enforced. A thread answers,
so that no handshake fails because the process is busy. When it cannot tell who may connect, nobody may, and the log
says so; if the thread ends, the process ends too.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from math import inf

import zmq

from protocol.endpoints import ip_of
from protocol.errors import LocalError
from transport.curve import Keys, listen_as
from transport.loop import Loop
from transport.sockets import Role

ENDPOINT = "inproc://zeromq.zap.01"
"""Where libzmq asks, of its own context."""
ADMITTED, NOT_NOW, REFUSED = [b"200", b""], [b"300", b"not now"], [b"400", b"not admitted"]
"""With the second, whoever asks is told nothing: its time for a handshake runs out, and it tries again."""
TELL_SECONDS = 60.0
"""At least this long between two lines in the log: a stranger can ask often."""
FORGET_COUNT = 64
"""Once this many addresses are kept, or twice as many as the last time, those no longer refused are dropped."""
_CURVE = b"CURVE"
_END = b""

_logger = logging.getLogger(__name__)


class Access:
    """Answers for the sockets of ``context`` that `watch` was called for; one in a context. Without ``keys`` who has
    none may connect; the thread that answers asks ``keys`` otherwise."""

    def __init__(self, loop: Loop, context: zmq.Context[zmq.Socket[bytes]], keys: Keys | None) -> None:
        self._loop, self._keys = loop, keys
        self._until: dict[str, float] = {}
        self._forget_at = FORGET_COUNT
        self._tell_at = -inf
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
        """Nobody connects from the IP ``address`` for ``seconds``; an earlier refusal that ends later still holds."""
        now = self._loop.now()
        if len(self._until) >= self._forget_at:
            self._until = {each: until for each, until in self._until.items() if until > now}
            self._forget_at = max(FORGET_COUNT, 2 * len(self._until))
        self._until[address] = max(self._until.get(address, now), now + seconds)

    def check(self) -> None:
        """`LocalError` when nobody answers any more, and so nobody could connect ever again."""
        if not self._thread.is_alive():
            raise LocalError("the thread that decides who may connect has ended")

    def close(self) -> None:
        if not self._thread.is_alive():
            return
        with self._socket.context.socket(zmq.REQ) as end:
            end.set(zmq.LINGER, -1)  # until it was taken
            end.connect(ENDPOINT)
            end.send(_END)
            self._thread.join()

    def _answer(self) -> None:
        try:
            while (asked := self._socket.recv_multipart()) != [_END]:
                self._socket.send_multipart([*asked[:2], *self._verdict(asked), b""])
        finally:
            self._socket.close()

    def _verdict(self, asked: Sequence[bytes]) -> list[bytes]:
        """Status, its text, and the key of whoever asks."""
        try:
            _, _, domain, address, _, mechanism, *credentials = asked
            key = self._key(domain, mechanism, credentials)
            now = self._loop.now()
            if key is None or self._until.get(str(ip_of(address.decode()) or ""), now) > now:
                return [*REFUSED, b""]
            return [*ADMITTED, key.encode()]
        except Exception:  # whatever it was: without an answer this thread could give no other
            if self._loop.now() >= self._tell_at:
                self._tell_at = self._loop.now() + TELL_SECONDS
                _logger.exception("cannot tell who may connect; whoever tries now is not let in")
            return [*NOT_NOW, b""]

    def _key(self, domain: bytes, mechanism: bytes, credentials: Sequence[bytes]) -> str | None:
        """The key of whoever asks, empty where nobody has one; None when it is not let in."""
        if self._keys is None:
            return ""
        if mechanism != _CURVE or len(credentials) != 1:
            return None
        key = credentials[0].hex()
        return key if self._keys.may_connect(Role(domain.decode()), key) else None
