"""A lookup process: the shell around `broker.lookup_core`. Run as a child of the tracker's supervisor.

Listens for peers' requests, and dials the registrar. The core decides; the shell carries out its effects.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from broker.child_settings import LookupSettings
from broker.effects import LookupEffect, Reply, SendRegistrar
from broker.heap import spare_the_registry
from broker.intake import Intake
from broker.link_messages import FromRegistrar
from broker.lookup_core import Lookup
from broker.outbox import Outbox
from protocol.codec import Decoder
from protocol.errors import ProtocolError
from protocol.limits import LINK_BYTES_MAX, REPLY_BYTES_MAX
from protocol.messages import LookupRequest
from service.child import run_child
from service.key_folder import LiveKeys, live_keys
from transport.loop import Loop
from transport.monitor import ConnectionEvent
from transport.ports import Line, Transport
from transport.sockets import Role, open_context
from transport.zmq_transport import ZmqTransport

REDIAL_SECONDS = 0.2
"""Between the end of a link and the next attempt; the registrar is on this machine."""
_FROM_REGISTRAR: Decoder[FromRegistrar] = Decoder(FromRegistrar, LINK_BYTES_MAX)


class LookupProcess:
    """One run of a lookup. ``keys`` say who is let in; None: everybody. Raises `NetworkError` when it cannot listen."""

    def __init__(
        self, settings: LookupSettings, transport: Transport, rng: Random, keys: LiveKeys | None = None
    ) -> None:
        self._settings = settings
        self._transport, self._keys = transport, keys
        self._requests = transport.listen(Role.TRACKER_ROUTER, settings.listen, REPLY_BYTES_MAX)
        self._outbox = Outbox(self._requests, transport.now)
        self._link: Line | None = None
        self._dial_at = 0.0
        self._intake, self._link_intake = Intake("requests"), Intake("link messages")
        self.core = Lookup(rng)
        requests: Decoder[LookupRequest] = Decoder(LookupRequest)
        self._requests.hear(requests, self._on_request, self._refuse)

    def _on_request(self, route: bytes, message: LookupRequest, now: float) -> None:
        self._perform(self.core.handle(route, message, now))

    def _refuse(self, route: bytes, data: bytes, error: ProtocolError) -> None:
        self._outbox.put(Reply(route, self._intake.refuse(data, error, self._transport.now())))

    # --- the link ----------------------------------------------------------------------------------------

    def on_connected(self) -> None:
        self._perform(self.core.connected(self._transport.now()))

    def on_lost(self, _event: ConnectionEvent) -> None:
        self.close()
        self._dial_at = self._transport.now() + REDIAL_SECONDS

    def on_message(self, message: FromRegistrar, _data: object) -> None:
        self._perform(self.core.handle_link(message, self._transport.now()))

    def on_garbage(self, error: ProtocolError) -> None:
        """The core then misses its number, and starts over."""
        self._link_intake.refuse(b"", error, self._transport.now())

    def close(self) -> None:
        """Hang up."""
        if self._link is not None:
            self._link.close()
            self._link = None

    # --- what is to be done ------------------------------------------------------------------------------

    def tick(self, now: float) -> float | None:
        """Called after every turn; returns when to be called at the latest."""
        if self._link is None and now >= self._dial_at:
            self._link = self._transport.dial(Role.LINK_DEALER, self._settings.link, _FROM_REGISTRAR, self)
        self._perform(self.core.tick(now))
        deadlines = [self.core.next_deadline(), self._dial_at if self._link is None else None]
        if self._keys is not None:
            if self._keys.refresh(now):
                self._requests.recheck()
            deadlines.append(self._keys.next_deadline())
        for intake in (self._intake, self._link_intake):
            self._perform(intake.note(now))
            deadlines.append(intake.next_deadline())
        self._outbox.send()
        return min((at for at in deadlines if at is not None), default=None)

    def _perform(self, effects: Sequence[LookupEffect]) -> None:
        for effect in effects:
            if isinstance(effect, Reply):
                self._outbox.put(effect)
            elif not isinstance(effect, SendRegistrar):
                self._transport.note(effect.level, effect.text)
            elif self._link is not None:
                self._link.send(effect.message)


def main(settings: LookupSettings, loop: Loop) -> int:
    """Run the lookup; 0 when it was told to end."""
    spare_the_registry()
    context = open_context()
    live, keys = live_keys(settings.keys, loop.now)
    transport = ZmqTransport(loop, context, keys)
    try:
        process = LookupProcess(settings, transport, Random(), live)
        try:
            transport.run(process.tick)
        finally:
            process.close()
    finally:
        transport.close()
        context.term()
    return 0


if __name__ == "__main__":
    run_child("lookup", LookupSettings, main)
