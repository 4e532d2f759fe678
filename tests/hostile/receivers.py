"""Receivers that take from a piece server what it has, and give nothing back: each attack is a thread with sockets.

They come from ``address``, one of this machine's loopback addresses, and speak to the piece server at ``port``.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator

import zmq

from protocol import messages
from protocol.codec import Decoder, encode
from protocol.errors import ProtocolError
from protocol.limits import REPLY_BYTES_MAX, ROUTE_SESSIONS_COUNT_MAX, SESSION_PIECES_COUNT_MAX
from protocol.messages import (
    Bye,
    Follow,
    Get,
    GetManifest,
    Message,
    NoSession,
    Piece,
    PieceServerReply,
    Received,
    Status,
)
from tests.hostile.strangers import Attack, Strangers, framed

TURN_MS = 20
PIECES = range(512)
AGAIN_SECONDS = 2.0
"""How often an attack says again what keeps it alive."""


class _Dealers(Attack):
    """Receivers with a DEALER each, which read all that comes."""

    count = 20

    def __init__(self, port: int, address: str, digest: str) -> None:
        super().__init__(port, address)
        self.digest = digest
        self.decoder: Decoder[PieceServerReply] = Decoder(PieceServerReply, REPLY_BYTES_MAX)

    def attack(self) -> None:
        context = zmq.Context()
        context.set(zmq.MAX_SOCKETS, 4_096)
        try:
            sockets = [context.socket(zmq.DEALER) for _ in range(self.count)]
            poller = zmq.Poller()
            for socket in sockets:
                socket.connect(f"tcp://{self.address}:0;127.0.0.1:{self.port}")
                poller.register(socket, zmq.POLLIN)
            silent, again_at = set(sockets), 0.0
            while not self.over.is_set():
                if time.monotonic() >= again_at:
                    again_at = time.monotonic() + AGAIN_SECONDS
                    for socket in sockets:
                        self.say(socket, self.again())
                for socket, _ in poller.poll(TURN_MS):
                    self.hear(socket)
                    silent.discard(socket)
                if not silent:
                    self.begun.set()
        finally:
            context.destroy(0)

    def say(self, socket: zmq.Socket[bytes], said: Iterable[Message]) -> None:
        for message in said:
            with contextlib.suppress(zmq.Again):
                socket.send(encode(message), zmq.NOBLOCK)

    def hear(self, socket: zmq.Socket[bytes]) -> None:
        while True:
            try:
                frames = socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            with contextlib.suppress(ProtocolError):
                self.say(socket, self.answer(self.decoder.decode(frames[0])))

    def again(self) -> Iterator[Message]:
        raise NotImplementedError

    def answer(self, message: Message) -> Iterator[Message]:
        """Nothing."""
        del message
        return iter(())


class NeverAcknowledge(_Dealers):
    """Give all the credit there may be, ask for every piece, and never say that one has arrived."""

    def again(self) -> Iterator[Message]:
        yield messages.Test(1, self.digest)

    def answer(self, message: Message) -> Iterator[Message]:
        if isinstance(message, NoSession):
            yield messages.Test(message.session, self.digest)
        elif isinstance(message, Status) and message.state == "complete":
            yield Follow(message.session, bytes(len(PIECES) // 8), SESSION_PIECES_COUNT_MAX)
            yield Get(message.session, list(PIECES))


class SessionsWithoutEnd(_Dealers):
    """As many sessions as there may be, each opened afresh all the time, so that it always looks new."""

    count = 160

    def again(self) -> Iterator[Message]:
        for number in range(ROUTE_SESSIONS_COUNT_MAX):
            yield Bye(number)
            yield messages.Test(number, self.digest)


class Complain(_Dealers):
    """Get one piece after another, and say of each that it is bad; and of others that were never sent."""

    def again(self) -> Iterator[Message]:
        yield messages.Test(1, self.digest)

    def answer(self, message: Message) -> Iterator[Message]:
        if isinstance(message, NoSession):
            yield messages.Test(message.session, self.digest)
        elif isinstance(message, Status) and message.state == "complete":
            yield Follow(message.session, bytes(len(PIECES) // 8), 1, False)
            yield Get(message.session, [PIECES[0]])
        elif isinstance(message, Piece):
            yield Received(message.session, 1, 1, message.receipt)  # else there is no other session
            for piece in (message.piece, message.piece, PIECES[-1]):
                yield Bye(message.session, [piece])
            yield messages.Test(message.session, self.digest)


class SlowReaders(Strangers):
    """Ask for as many pages of a manifest as they may, again and again, and read them a few bytes at a time."""

    count = 100
    turns = 6
    pause_seconds = 0.5
    receive_bytes = 65_536
    read_bytes = 16_384


def get_manifests(digest: str, manifest: str) -> bytes:
    """As many requests as may wait over one connection, as `framed` has them."""
    return framed(*(GetManifest(number, digest, manifest, number % 2) for number in range(ROUTE_SESSIONS_COUNT_MAX)))
