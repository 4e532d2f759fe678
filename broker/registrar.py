"""The registrar process: sockets around `broker.registrar_core`. Run as a child of the tracker's supervisor.

ROUTER for peers' requests, PUB for the roster, ROUTER for the lookups' links. Receives, decodes, lets the core
decide, performs what it says.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import zmq

from broker.child_settings import RegistrarSettings
from broker.effects import Note, Publish, RegistrarEffect, Reply, SendLookup
from broker.heap import spare_the_registry
from broker.intake import Intake
from broker.link_messages import FromLookup
from broker.outbox import Outbox
from broker.ready_file import write_ready_file
from broker.registrar_core import Registrar, Terms
from protocol.codec import Decoder, encode
from protocol.endpoints import EVERY, Address, parse_endpoint, reachable_here
from protocol.limits import LINK_BYTES_MAX, ROSTER_BYTES_MAX
from protocol.messages import Error, Join, RegistrarRequest
from service.child import run_child
from service.logs import LEVELS
from transport.connection_limit import ConnectionLimit
from transport.loop import Loop
from transport.runtime_dir import make_runtime_dir, remove_runtime_dir
from transport.sockets import Role, bind, drain_routed, open_context, open_socket, peer_address, send_or_drop

TOPIC = b"roster"
_logger = logging.getLogger(__name__)


class RegistrarProcess:
    """One run of the registrar on ``loop``."""

    def __init__(self, settings: RegistrarSettings, context: zmq.Context[zmq.Socket[bytes]], loop: Loop) -> None:
        self._settings = settings
        self._loop = loop
        self._requests = open_socket(context, Role.TRACKER_ROUTER)
        self._outbox = Outbox(self._requests, loop.now)
        self._roster = open_socket(context, Role.TRACKER_PUB)
        self._limit = ConnectionLimit(loop, [self._requests, self._roster])
        self._link = open_socket(context, Role.LINK_ROUTER)
        self._intake: Intake[RegistrarRequest] = Intake("requests", Decoder(RegistrarRequest))
        self._link_intake: Intake[FromLookup] = Intake("link messages", Decoder(FromLookup))
        terms = Terms(
            settings.lease_seconds,
            settings.heartbeat_seconds,
            settings.peers_max,
            _told(settings.roster, settings.advertise),
            tuple(_told(lookup, settings.advertise) for lookup in settings.lookups),
        )
        self._core = Registrar(terms, settings.epoch(loop.now()), loop.now())

    def run(self) -> None:
        """Serve until the loop is stopped. Raises `NetworkError` when it cannot listen."""
        bind(self._roster, self._settings.roster)
        bind(self._link, self._settings.link)
        bind(self._requests, self._settings.listen)
        self._loop.add(self._requests, self._on_request)
        self._loop.add(self._link, self._on_link)
        self._loop.run(self._tick)

    def _on_request(self) -> None:
        now = self._loop.now()
        for route, frames in drain_routed(self._requests):
            message = self._intake.read(frames[0].bytes, len(frames), now)
            if isinstance(message, Error):
                self._outbox.put(Reply(route, message))
            else:
                address = peer_address(frames[0]) if isinstance(message, Join) else ""  # costs as much as decoding
                self._perform(self._core.handle(route, address, message, now))
        self._outbox.send()

    def _on_link(self) -> None:
        now = self._loop.now()
        for route, frames in drain_routed(self._link):
            message = self._link_intake.read(frames[0].bytes, len(frames), now)
            if not isinstance(message, Error):
                self._perform(self._core.handle_link(route, message, now))

    def _tick(self, now: float) -> float:
        self._perform(self._core.tick(now))
        deadline = min(self._core.next_deadline(), self._limit.tick(now))
        for intake in (self._intake, self._link_intake):
            self._perform(intake.note(now))
            deadline = min(deadline, intake.next_deadline() or deadline)
        self._outbox.send()
        return deadline

    def _perform(self, effects: Sequence[RegistrarEffect]) -> None:
        for effect in effects:
            if isinstance(effect, Reply):
                self._outbox.put(effect)
            elif isinstance(effect, Publish):
                send_or_drop(self._roster, [TOPIC, encode(effect.roster, ROSTER_BYTES_MAX)])
            elif isinstance(effect, SendLookup):
                if not send_or_drop(self._link, [effect.route, encode(effect.message, LINK_BYTES_MAX)]):
                    self._perform(self._core.undeliverable(effect))
            elif isinstance(effect, Note):
                _logger.log(LEVELS[effect.level], "%s", effect.text)
            else:
                self._announce()

    def _announce(self) -> None:
        """Tell that the whole tracker serves, in the log and in the ready file."""
        settings = self._settings
        if settings.ready_file:
            endpoints = {
                "registrar": reachable_here(settings.listen),
                "roster": reachable_here(settings.roster),
                "lookups": [reachable_here(lookup) for lookup in settings.lookups],
            }
            write_ready_file(Path(settings.ready_file), endpoints)
        lookups = ", ".join(settings.lookups)
        _logger.info("tracker ready: registrar %s, roster %s, lookups %s", settings.listen, settings.roster, lookups)

    def close(self) -> None:
        """Close every socket."""
        self._limit.close()
        for socket in (self._requests, self._roster, self._link):
            socket.close()


def _told(listen: str, advertise: str) -> str:
    """What peers are told of a socket bound to ``listen``: it is at the host where they reach this one."""
    return str(Address(advertise or EVERY, parse_endpoint(listen).port))


def main(settings: RegistrarSettings, loop: Loop) -> int:
    """Run the registrar; 0 when it was told to end."""
    spare_the_registry()
    make_runtime_dir(settings.runtime_key)
    context = open_context()
    process = RegistrarProcess(settings, context, loop)
    try:
        process.run()
    finally:
        process.close()
        context.term()
        remove_runtime_dir(settings.runtime_key)  # here, because the supervisor may have been killed
    return 0


if __name__ == "__main__":
    run_child("registrar", RegistrarSettings, main)
