"""Receivers that take from a piece server what it has, and give nothing back: each attack is a thread with sockets.

They come from ``address``, one of this machine's loopback addresses, and speak to the piece server at ``port``.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import socket as plain
import struct
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import zmq

from protocol import messages
from protocol.codec import Decoder, encode
from protocol.errors import ProtocolError
from protocol.limits import MIB, REPLY_BYTES_MAX, ROUTE_SESSIONS_COUNT_MAX, SESSION_PIECES_COUNT_MAX
from protocol.messages import Bye, Follow, Get, GetManifest, Message, NoSession, PieceServerReply, Status
from tests.transport.test_connection_limit import GREETING, READY

TURN_MS = 20
PIECES = range(512)
AGAIN_SECONDS = 2.0
"""How often an attack says again what keeps it alive."""


class Attack(threading.Thread):
    """Begins when it is entered, and has ended when it is left."""

    def __init__(self, port: int, address: str) -> None:
        super().__init__(name=type(self).__name__)
        self.port, self.address = port, address
        self.over, self.begun = threading.Event(), threading.Event()
        self.failure: BaseException | None = None

    def __enter__(self) -> Attack:
        self.start()
        assert self.begun.wait(20.0)
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.join()
        if self.failure is not None:
            raise self.failure

    def run(self) -> None:
        try:
            self.attack()
        except BaseException as error:  # noqa: BLE001 - it is the test's to see
            self.failure = error
        finally:
            self.begun.set()

    def attack(self) -> None:
        raise NotImplementedError


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


class _Strangers(Attack):
    """Plain connections that shake hands and send ``data`` again and again, as much at a time as fits."""

    count = 20
    pause_seconds = 0.001
    turns = 1
    """Until it counts as begun."""
    receive_bytes = MIB
    """Buffer of the kernel for what comes."""
    read_bytes = 0
    """Read in each turn."""

    def __init__(self, port: int, address: str, data: bytes) -> None:
        super().__init__(port, address)
        self.data = data

    def attack(self) -> None:
        with contextlib.ExitStack() as stack:
            there = {stack.enter_context(self.connect()): 0 for _ in range(self.count)}
            for turn in itertools.count(1):
                if self.over.is_set():
                    return
                for stranger in list(there):
                    try:
                        there[stranger] = self.talk(stranger, there[stranger])
                    except OSError:  # it was hung up on
                        stranger.close()
                        del there[stranger]
                        there[stack.enter_context(self.connect())] = 0
                if turn >= self.turns:
                    self.begun.set()
                self.over.wait(self.pause_seconds)

    def connect(self) -> plain.socket:
        stranger = plain.socket()
        stranger.setsockopt(plain.SOL_SOCKET, plain.SO_RCVBUF, self.receive_bytes)
        stranger.bind((self.address, 0))
        stranger.connect(("127.0.0.1", self.port))
        stranger.sendall(GREETING + READY)
        stranger.setblocking(False)
        return stranger

    def talk(self, stranger: plain.socket, at: int) -> int:
        """Send what is next of the data, from byte ``at`` on; returns where it goes on."""
        with contextlib.suppress(BlockingIOError):
            if self.read_bytes:
                stranger.recv(self.read_bytes)
        try:
            return (at + stranger.send(self.data[at:])) % len(self.data)
        except BlockingIOError:
            return at


class SlowReaders(_Strangers):
    """Ask for as many pages of a manifest as they may, again and again, and read them a few bytes at a time."""

    count = 100
    turns = 6
    pause_seconds = 0.5
    receive_bytes = 65_536
    read_bytes = 16_384


class Flood(_Strangers):
    """Ask without end, and read every answer."""

    read_bytes = MIB


class FrameFlood(_Strangers):
    """Send messages of very many frames."""

    def __init__(self, port: int, address: str, data: bytes) -> None:
        del data
        super().__init__(port, address, 100 * (99 * b"\1\1x" + b"\0\1x"))


class DeafFlood(_Strangers):
    """Ask without end, and read nothing."""


def framed(*said: Message) -> bytes:
    """Messages as ZMTP has them on the wire."""
    frames = bytearray()
    for data in map(encode, said):
        short = len(data) < 256
        frames += (bytes([0, len(data)]) if short else b"\x02" + struct.pack(">Q", len(data))) + data
    return bytes(frames)


def resident_bytes(pid: int) -> int:
    """How much memory the process has at this moment."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def get_manifests(digest: str, manifest: str) -> bytes:
    """As many requests as may wait over one connection, as `framed` has them."""
    return framed(*(GetManifest(number, digest, manifest, number % 2) for number in range(ROUTE_SESSIONS_COUNT_MAX)))
