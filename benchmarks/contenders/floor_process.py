"""One process of `benchmarks.contenders.floor`: the source, or a receiver."""

from __future__ import annotations

import os
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import blake3
import zmq

from benchmarks.contenders.helper import Answer, serve
from protocol.limits import MIB

PIECE_BYTES = 1 * MIB
WINDOW_COUNT = 8
ANSWER_MS = 30_000
"""Without a piece for so long, something is broken."""


class Source:
    """Sends what is asked for until each receiver has said that it has everything."""

    def __init__(self) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        self._fd = -1

    def open(self, path: str) -> Answer:
        self._fd = os.open(path, os.O_RDONLY)
        size = os.fstat(self._fd).st_size
        digests = [blake3.blake3(os.pread(self._fd, PIECE_BYTES, at)).hexdigest() for at in range(0, size, PIECE_BYTES)]
        self._socket.linger, self._socket.sndhwm, self._socket.rcvhwm = 0, 2 * WINDOW_COUNT, 0
        port = self._socket.bind_to_random_port("tcp://127.0.0.1")
        return {"endpoint": f"tcp://127.0.0.1:{port}", "digests": digests}

    def send(self, receivers: int) -> Answer:
        socket, fd = self._socket, self._fd
        while receivers:
            route, wanted = socket.recv_multipart()
            if not wanted:
                receivers -= 1
                continue
            data = os.pread(fd, PIECE_BYTES, int(wanted) * PIECE_BYTES)
            socket.send_multipart([route, wanted, data], copy=False)
        return {}


class Receiver:
    """Asks for pieces in order, some of them ahead; one thread hashes and writes."""

    def __init__(self) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._thread = ThreadPoolExecutor(1)
        self._digests: list[str] = []
        self._path, self._size = "", 0

    def connect(self, endpoint: str, digests: list[str], size: int, path: str) -> Answer:
        self._digests, self._size, self._path = digests, size, path
        self._socket.linger, self._socket.rcvhwm, self._socket.rcvtimeo = 0, 0, ANSWER_MS
        self._socket.connect(endpoint)
        return {}

    def get(self) -> Answer:
        socket, count = self._socket, len(self._digests)
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            os.ftruncate(fd, self._size)
            for piece in range(min(WINDOW_COUNT, count)):
                socket.send(b"%d" % piece)
            written: list[Future[None]] = []
            for number in range(count):
                header, frame = socket.recv_multipart(copy=False)
                if number + WINDOW_COUNT < count:
                    socket.send(b"%d" % (number + WINDOW_COUNT))
                written.append(self._thread.submit(self._write, fd, int(header.bytes), frame))
            for future in written:
                future.result()
            socket.send(b"")
        finally:
            os.close(fd)
        return {}

    def _write(self, fd: int, piece: int, frame: zmq.Frame) -> None:
        data: Any = frame.buffer
        if blake3.blake3(data).hexdigest() != self._digests[piece]:
            raise ValueError(f"piece {piece} is wrong")
        os.pwrite(fd, data, piece * PIECE_BYTES)


if __name__ == "__main__":
    source, receiver = Source(), Receiver()
    serve({"open": source.open, "send": source.send, "connect": receiver.connect, "get": receiver.get})
