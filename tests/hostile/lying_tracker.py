"""A tracker that lets everybody in, knows what it is told, and lies when it is asked: the cores of a real one, in a
thread, with real sockets."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from random import Random
from typing import Any, Self

import zmq

from broker.effects import LookupEffect, Publish, RegistrarEffect, Reply, SendLookup, SendRegistrar
from broker.lookup_core import Lookup
from broker.registrar_core import Registrar, Terms
from protocol.codec import Decoder, encode
from protocol.limits import HEARTBEAT_SECONDS, LEASE_SECONDS, PEERS_COUNT_MAX, REPLY_BYTES_MAX
from protocol.messages import LookupReply, LookupRequest, MemberRequest
from transport.sockets import Role, bind, drain_routed, open_context, open_socket, send_or_drop

HERE = "tcp://127.0.0.1:0"
ADDRESS = "127.0.0.1"
LINK = b"link"
POLL_MS = 50

Lie = Callable[[Any], LookupReply]
"""What is said instead of a lookup's reply."""


class LyingTracker(threading.Thread):
    """Serves at ``endpoint`` from when it is entered until it is left. ``lie`` may be changed; at first it is none.
    ``lies`` counts the answers that were no truth."""

    def __init__(self) -> None:
        super().__init__(name="lying tracker")
        self.lie: Lie = lambda reply: reply
        self.lies = 0
        self._over = threading.Event()
        self._resources = ExitStack()
        context = open_context()
        self._resources.callback(context.term)
        self._requests, self._questions, self._roster = (
            open_socket(context, role) for role in (Role.TRACKER_ROUTER, Role.TRACKER_ROUTER, Role.TRACKER_PUB)
        )
        for socket in (self._requests, self._questions, self._roster):
            self._resources.callback(socket.close, 0)
        self.endpoint = bind(self._requests, HERE)
        terms = Terms(
            LEASE_SECONDS,
            HEARTBEAT_SECONDS,
            PEERS_COUNT_MAX,
            bind(self._roster, HERE),
            (bind(self._questions, HERE),),
        )
        self._registrar = Registrar(terms, int(time.time() * 1_000), time.monotonic())
        self._lookup = Lookup(Random(1))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()
        self._resources.close()

    def run(self) -> None:
        poller = zmq.Poller()
        for socket in (self._requests, self._questions):
            poller.register(socket, zmq.POLLIN)
        requests: Decoder[MemberRequest] = Decoder(MemberRequest)
        questions: Decoder[LookupRequest] = Decoder(LookupRequest)
        self._of_lookup(self._lookup.connected(time.monotonic()))
        while not self._over.is_set():
            poller.poll(POLL_MS)
            now = time.monotonic()
            for route, frames in drain_routed(self._requests):
                self._of_registrar(self._registrar.handle(route, ADDRESS, requests.decode(frames[0].buffer), now))
            for route, frames in drain_routed(self._questions):
                self._of_lookup(self._lookup.handle(route, questions.decode(frames[0].buffer), now))
            self._of_registrar(self._registrar.tick(now))
            self._of_lookup(self._lookup.tick(now))

    def _of_registrar(self, effects: Iterable[RegistrarEffect]) -> None:
        for effect in effects:
            if isinstance(effect, SendLookup):
                self._of_lookup(self._lookup.handle_link(effect.message, time.monotonic()))
            elif isinstance(effect, Publish):
                send_or_drop(self._roster, [b"roster", encode(effect.roster)])
            elif isinstance(effect, Reply):
                send_or_drop(self._requests, [effect.route, encode(effect.message)])

    def _of_lookup(self, effects: Iterable[LookupEffect]) -> None:
        for effect in effects:
            if isinstance(effect, SendRegistrar):
                self._of_registrar(self._registrar.handle_link(LINK, effect.message, time.monotonic()))
            elif isinstance(effect, Reply):
                said = self.lie(effect.message)
                self.lies += said != effect.message
                send_or_drop(self._questions, [effect.route, encode(said, REPLY_BYTES_MAX)])
