"""A lookup process: sockets around `broker.lookup_core`. Run as a child of the tracker's supervisor.

ROUTER for peers' requests, DEALER for the link to the registrar. Receives, decodes, lets the core decide, performs
what it says.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence

import zmq

from broker.child_settings import LookupSettings
from broker.effects import LookupEffect, Reply, SendRegistrar
from broker.heap import spare_the_registry
from broker.intake import Intake
from broker.link_messages import FromRegistrar
from broker.lookup_core import Lookup
from broker.outbox import Outbox
from protocol.codec import Decoder, encode
from protocol.limits import LINK_BYTES_MAX
from protocol.messages import Error, LookupRequest
from service.child import run_child
from service.logs import LEVELS
from transport.connection_limit import ConnectionLimit
from transport.loop import Loop
from transport.monitor import ConnectionEvent, ConnectionMonitor
from transport.sockets import Role, bind, connect, drain, drain_routed, open_context, open_socket, send_or_drop

_logger = logging.getLogger(__name__)


class LookupProcess:
    """One run of a lookup on ``loop``."""

    def __init__(self, settings: LookupSettings, context: zmq.Context[zmq.Socket[bytes]], loop: Loop) -> None:
        self._settings = settings
        self._loop = loop
        self._requests = open_socket(context, Role.TRACKER_ROUTER)
        self._limit = ConnectionLimit(loop, [self._requests])
        self._outbox = Outbox(self._requests, loop.now)
        self._link = open_socket(context, Role.LINK_DEALER)
        self._monitor = ConnectionMonitor(self._link)
        self._intake: Intake[LookupRequest] = Intake("requests", Decoder(LookupRequest))
        self._link_intake: Intake[FromRegistrar] = Intake("link messages", Decoder(FromRegistrar, LINK_BYTES_MAX))
        self._core = Lookup(random.Random())

    def run(self) -> None:
        """Serve until the loop is stopped. Raises `NetworkError` when it cannot listen."""
        bind(self._requests, self._settings.listen)
        self._loop.add(self._requests, self._on_request)
        self._loop.add(self._link, self._on_link)
        self._loop.add(self._monitor.socket, self._on_connection)
        connect(self._link, self._settings.link)
        self._loop.run(self._tick)

    def _on_request(self) -> None:
        now = self._loop.now()
        for route, frames in drain_routed(self._requests):
            message = self._intake.read(frames[0].bytes, len(frames), now)
            if isinstance(message, Error):
                self._outbox.put(Reply(route, message))
            else:
                self._perform(self._core.handle(route, message, now))
        self._outbox.send()

    def _on_link(self) -> None:
        now = self._loop.now()
        for frames in drain(self._link):
            message = self._link_intake.read(frames[0].bytes, len(frames), now)
            if not isinstance(message, Error):  # otherwise its number is missing, and the core starts over
                self._perform(self._core.handle_link(message, now))

    def _on_connection(self) -> None:
        for event in self._monitor.events():
            if event is ConnectionEvent.CONNECTED:
                self._perform(self._core.connected(self._loop.now()))

    def _tick(self, now: float) -> float | None:
        self._perform(self._core.tick(now))
        deadlines: list[float | None] = [self._core.next_deadline(), self._limit.tick(now)]
        for intake in (self._intake, self._link_intake):
            self._perform(intake.note(now))
            deadlines.append(intake.next_deadline())
        self._outbox.send()
        return min((at for at in deadlines if at is not None), default=None)

    def _perform(self, effects: Sequence[LookupEffect]) -> None:
        for effect in effects:
            if isinstance(effect, Reply):
                self._outbox.put(effect)
            elif isinstance(effect, SendRegistrar):
                send_or_drop(self._link, [encode(effect.message)])
            else:
                _logger.log(LEVELS[effect.level], "%s", effect.text)

    def close(self) -> None:
        """Close every socket."""
        self._limit.close()
        self._monitor.close()
        for socket in (self._requests, self._link):
            socket.close()


def main(settings: LookupSettings, loop: Loop) -> int:
    """Run the lookup; 0 when it was told to end."""
    spare_the_registry()
    context = open_context()
    process = LookupProcess(settings, context, loop)
    try:
        process.run()
    finally:
        process.close()
        context.term()
    return 0


if __name__ == "__main__":
    run_child("lookup", LookupSettings, main)
