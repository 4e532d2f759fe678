"""The registrar process: the shell around `broker.registrar_core`. Run as a child of the tracker's supervisor.

Listens for peers' requests, for subscribers of the roster and for the lookups' links. The core decides; the shell
carries out its effects.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from pathlib import Path

from broker.child_settings import RegistrarSettings
from broker.effects import Note, Publish, RegistrarEffect, Reply, SendLookup
from broker.gate import Gate
from broker.heap import spare_the_registry
from broker.intake import Intake
from broker.link_messages import FromLookup
from broker.outbox import Outbox
from broker.ready_file import write_ready_file
from broker.registrar_core import Registrar, Terms
from protocol.codec import Decoder
from protocol.endpoints import EVERY, Address, parse_endpoint, reachable_here
from protocol.errors import ProtocolError
from protocol.keys import peer_id_of
from protocol.limits import LINK_BYTES_MAX, REPLY_BYTES_MAX, ROSTER_BYTES_MAX
from protocol.messages import Enrol, Join, RegistrarRequest
from service.child import run_child
from service.key_folder import LiveKeys, live_keys
from transport.loop import Loop
from transport.ports import Transport
from transport.runtime_dir import make_runtime_dir, remove_runtime_dir
from transport.sockets import Role, open_context
from transport.zmq_transport import ZmqTransport

TOPIC = b"roster"
INVALID = "Invalid"
"""The kind of request that is none."""
LAST_WORD_SECONDS = 0.5
"""When a key is revoked, all connections to the roster are closed; before that everybody is told who left."""


class RegistrarProcess:
    """One run of the registrar, identified by ``epoch``. ``keys`` say who is let in; None: everybody. Raises
    `NetworkError` when it cannot listen."""

    def __init__(
        self, settings: RegistrarSettings, epoch: int, transport: Transport, keys: LiveKeys | None = None
    ) -> None:
        self._settings = settings
        self._transport, self._keys = transport, keys
        self._cut_roster_at = inf
        self._gate = Gate(keys)
        self._roster = transport.listen(Role.TRACKER_PUB, settings.roster, ROSTER_BYTES_MAX)
        self._link = transport.listen(Role.LINK_ROUTER, settings.link, LINK_BYTES_MAX)
        self._requests = transport.listen(Role.TRACKER_ROUTER, settings.listen, REPLY_BYTES_MAX)
        self._outbox = Outbox(self._requests, transport.now)
        self._intake, self._link_intake = Intake("requests"), Intake("link messages")
        terms = Terms(
            settings.lease_seconds,
            settings.heartbeat_seconds,
            settings.peers_max,
            _told(settings.roster, settings.advertise),
            tuple(_told(lookup, settings.advertise) for lookup in settings.lookups),
        )
        self.core = Registrar(terms, epoch, transport.now())
        requests: Decoder[RegistrarRequest] = Decoder(RegistrarRequest)
        self._requests.hear(requests, self._on_request, self._on_garbage)
        from_lookups: Decoder[FromLookup] = Decoder(FromLookup)
        self._link.hear(from_lookups, self._on_link, self._on_link_garbage)

    def _on_request(self, route: bytes, message: RegistrarRequest, now: float) -> None:
        self.core.requests[type(message).__name__] += 1
        key = self._requests.key_of(route)
        if isinstance(message, Enrol):
            self._outbox.put(Reply(route, self._gate.enrol(message, key)))
            return
        refusal = self._gate.refusal(message, key)
        if refusal is not None:
            self._outbox.put(Reply(route, refusal))
            return
        # The address costs as much as decoding.
        address = self._requests.address_of(route) if isinstance(message, Join) else ""
        self._perform(self.core.handle(route, address, message, now, key))

    def _on_garbage(self, route: bytes, data: bytes, error: ProtocolError) -> None:
        self.core.requests[INVALID] += 1
        self._outbox.put(Reply(route, self._intake.refuse(data, error, self._transport.now())))

    def _on_link(self, route: bytes, message: FromLookup, now: float) -> None:
        self._perform(self.core.handle_link(route, message, now))

    def _on_link_garbage(self, _route: bytes, data: bytes, error: ProtocolError) -> None:
        self._link_intake.refuse(data, error, self._transport.now())

    def tick(self, now: float) -> float:
        """Called after every turn; returns when to be called at the latest."""
        self._perform(self.core.tick(now))
        deadline = self.core.next_deadline()
        if self._keys is not None:
            if gone := self._keys.refresh(now):
                self._perform(self.core.put_out(sorted(map(peer_id_of, gone)), now))
                self._requests.recheck()
                self._cut_roster_at = now + LAST_WORD_SECONDS
            if now >= self._cut_roster_at:
                self._cut_roster_at = inf
                self._roster.recheck()
            deadline = min(deadline, self._keys.next_deadline(), self._cut_roster_at)
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
                self._roster.publish(TOPIC, effect.roster)
            elif isinstance(effect, SendLookup):
                if not self._link.send(effect.route, effect.message):
                    self._perform(self.core.undeliverable(effect))
            elif isinstance(effect, Note):
                self._transport.note(effect.level, effect.text)
            else:
                self._announce()

    def _announce(self) -> None:
        """Announce that the whole tracker serves, in the log and in the ready file."""
        settings = self._settings
        if settings.ready_file:
            endpoints: dict[str, object] = {
                "registrar": reachable_here(settings.listen),
                "roster": reachable_here(settings.roster),
                "lookups": [reachable_here(lookup) for lookup in settings.lookups],
            }
            if settings.web:
                endpoints["web"] = reachable_here(settings.web)
            write_ready_file(Path(settings.ready_file), endpoints)
        lookups = ", ".join(settings.lookups)
        text = f"tracker ready: registrar {settings.listen}, roster {settings.roster}, lookups {lookups}"
        self._transport.note("info", text)


def _told(listen: str, advertise: str) -> str:
    """The endpoint that peers are told for a socket bound to ``listen``: its host is the one at which they reach the
    registrar."""
    return str(Address(advertise or EVERY, parse_endpoint(listen).port))


def main(settings: RegistrarSettings, loop: Loop) -> int:
    """Run the registrar; 0 when it was told to end."""
    spare_the_registry()
    make_runtime_dir(settings.runtime_key)
    context = open_context()
    live, keys = live_keys(settings.keys, loop.now, invites=True)
    transport = ZmqTransport(loop, context, keys)
    try:
        transport.run(RegistrarProcess(settings, settings.epoch(loop.now()), transport, live).tick)
    finally:
        transport.close()
        context.term()
        remove_runtime_dir(settings.runtime_key)  # here, because the supervisor may have been killed
    return 0


if __name__ == "__main__":
    run_child("registrar", RegistrarSettings, main)
