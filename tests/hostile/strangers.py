"""Strangers that say what no peer does, to whatever listens: each attack is a thread with plain sockets.

They come from ``address``, one of this machine's loopback addresses, and speak to ``port``.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import socket as plain
import struct
import threading
from pathlib import Path
from typing import Self

from protocol.codec import encode
from protocol.limits import MIB
from protocol.messages import Message
from tests.transport.test_connection_limit import GREETING, READY

ROUTER_READY = b"\x04\x29\x05READY\x0bSocket-Type\x00\x00\x00\x06ROUTER\x08Identity\x00\x00\x00\x00"
SUB_READY = b"\x04\x19\x05READY\x0bSocket-Type\x00\x00\x00\x03SUB"


ATTACK_SECONDS = float(os.environ.get("ATTACK_SECONDS", "0"))
"""How long each attack lasts at least: the figures in `docs/RELIABILITY.md` are those of a minute."""

log = logging.getLogger(__name__)


def note(attack: Attack, memory: int, alone: float, median: float) -> None:
    """What an attack has cost: bytes of ``memory``, and an honest one's time, in seconds, before it and during it."""
    about = f"{attack.name} on port {attack.port} from {attack.address}"
    log.info("%s: %.0f MiB; an honest one took %.4f s alone and %.4f s", about, memory / MIB, alone, median)


class Attack(threading.Thread):
    """Begins when it is entered, and has ended when it is left."""

    def __init__(self, port: int, address: str) -> None:
        super().__init__(name=type(self).__name__)
        self.port, self.address = port, address
        self.over, self.begun = threading.Event(), threading.Event()
        self.failure: BaseException | None = None

    def __enter__(self) -> Self:
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


class Strangers(Attack):
    """Plain connections that shake hands and send ``data`` again and again, as much at a time as fits."""

    count = 20
    pause_seconds = 0.001
    turns = 1
    """Until it counts as begun."""
    receive_bytes = MIB
    """Buffer of the kernel for what comes."""
    read_bytes = 0
    """Read in each turn."""
    ready = READY

    def __init__(self, port: int, address: str, data: bytes) -> None:
        super().__init__(port, address)
        self.data = data

    def attack(self) -> None:
        with contextlib.ExitStack() as stack:
            there: dict[plain.socket, int] = {}
            for _ in range(self.count):
                self.connect_one(stack, there)
            for turn in itertools.count(1):
                if self.over.is_set():
                    return
                for stranger in list(there):
                    try:
                        there[stranger] = self.talk(stranger, there[stranger])
                    except OSError:  # it was hung up on
                        stranger.close()
                        del there[stranger]
                        self.connect_one(stack, there)
                if turn >= self.turns:
                    self.begun.set()
                self.over.wait(self.pause_seconds)

    def connect_one(self, stack: contextlib.ExitStack, there: dict[plain.socket, int]) -> None:
        with contextlib.suppress(OSError):  # nobody listens just now
            there[stack.enter_context(self.connect())] = 0

    def connect(self) -> plain.socket:
        stranger = plain.socket()
        stranger.setsockopt(plain.SOL_SOCKET, plain.SO_RCVBUF, self.receive_bytes)
        stranger.bind((self.address, 0))
        stranger.connect(("127.0.0.1", self.port))
        stranger.sendall(GREETING + self.ready)
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


class Flood(Strangers):
    """Ask without end, and read every answer."""

    read_bytes = MIB


class FrameFlood(Strangers):
    """Send messages of very many frames."""

    def __init__(self, port: int, address: str, data: bytes) -> None:
        del data
        super().__init__(port, address, 100 * (99 * b"\1\1x" + b"\0\1x"))


class DeafFlood(Strangers):
    """Ask without end, and read nothing."""


class Endless(Strangers):
    """Send messages of which every frame says that more come."""

    def __init__(self, port: int, address: str, frame_bytes: int) -> None:
        short = frame_bytes < 256
        head = bytes([1, frame_bytes]) if short else b"\3" + struct.pack(">Q", frame_bytes)
        super().__init__(port, address, (MIB // (len(head) + frame_bytes)) * (head + bytes(frame_bytes)))


class EndlessSource(Attack):
    """Listens at ``port``, and sends whoever dials a message that has no end."""

    dialled_count = 0

    def __init__(self) -> None:
        self.listening = plain.create_server(("127.0.0.1", 0))
        super().__init__(self.listening.getsockname()[1], "127.0.0.1")

    def attack(self) -> None:
        self.begun.set()
        with self.listening, contextlib.ExitStack() as stack:
            self.listening.settimeout(0.05)
            frame, dialled = b"\3" + struct.pack(">Q", 65_536) + bytes(65_536), dict[plain.socket, bytes]()
            while not self.over.is_set():
                with contextlib.suppress(TimeoutError):
                    found = stack.enter_context(self.listening.accept()[0])
                    found.setblocking(False)
                    self.dialled_count += 1
                    dialled[found] = GREETING[:32] + b"\1" + GREETING[33:] + ROUTER_READY
                for one in list(dialled):
                    with contextlib.suppress(BlockingIOError):
                        for _ in range(100):
                            dialled[one] = dialled[one] or frame
                            try:
                                dialled[one] = dialled[one][one.send(dialled[one]) :]
                            except ConnectionError:
                                del dialled[one]
                                break


class Subscribers(Strangers):
    """Subscribe to topics of ``topic_bytes`` that nobody else has heard of, again and again."""

    ready = SUB_READY

    def __init__(self, port: int, address: str, topic_bytes: int) -> None:
        super().__init__(port, address, b"")
        self.topic_bytes = topic_bytes

    def talk(self, stranger: plain.socket, at: int) -> int:
        length = 1 + self.topic_bytes
        head = bytes([0, length]) if length < 256 else b"\2" + struct.pack(">Q", length)
        self.data = b"".join(head + b"\1" + os.urandom(self.topic_bytes) for _ in range(MIB // length))
        return super().talk(stranger, at)


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
