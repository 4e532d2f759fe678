"""Asks the same thing again and again over one connection, some requests ahead, and sees how long each answer takes."""

from __future__ import annotations

import base64
import time
from collections import deque

import zmq

from benchmarks.contenders.helper import Answer, serve
from benchmarks.tracker_figures import LATENCIES, percentile
from transport.sockets import Role, connect, open_context, open_socket

ANSWER_MS = 5_000
"""Without an answer for so long, something is broken."""


class Client:
    def __init__(self) -> None:
        self._context = open_context()
        self._sockets: dict[str, zmq.Socket[bytes]] = {}

    def connect(self, endpoint: str) -> Answer:
        socket = self._sockets[endpoint] = open_socket(self._context, Role.CONTROL_DEALER)
        socket.rcvtimeo = socket.sndtimeo = ANSWER_MS
        connect(socket, endpoint)
        return {}

    def ask(self, endpoint: str, request: str, count: int, ahead: int) -> Answer:
        """``count`` times ``request`` (Base64), always ``ahead`` of them not answered. All answers must be the same;
        the first is returned, with the seconds of all and percentiles of their latencies in ms."""
        data = base64.b64decode(request)
        send, receive, clock = self._sockets[endpoint].send, self._sockets[endpoint].recv, time.perf_counter_ns
        sent_at: deque[int] = deque()
        latencies = [0] * count
        answer = b""
        began = clock()
        for _ in range(min(ahead, count)):
            sent_at.append(clock())
            send(data)
        for number in range(count):
            received = receive()
            at = clock()
            latencies[number] = at - sent_at.popleft()
            if received != answer:
                if number:
                    raise ValueError(f"answer {number} differs from those before: {received!r}")
                answer = received
            if number + ahead < count:
                sent_at.append(at)
                send(data)
        seconds = (clock() - began) / 1e9
        latencies.sort()
        return {
            "seconds": seconds,
            "answer": base64.b64encode(answer).decode(),
            "latencies_ms": {name: percentile(latencies, part) / 1e6 for name, part in LATENCIES.items()},
        }


if __name__ == "__main__":
    client = Client()
    serve({"connect": client.connect, "ask": client.ask})
