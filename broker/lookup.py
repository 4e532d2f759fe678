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
from broker.lookup_core import Lookup
from broker.outbox import Outbox
from broker.registrar_line import RegistrarLine
from protocol.codec import Decoder
from protocol.errors import ProtocolError
from protocol.limits import REPLY_BYTES_MAX
from protocol.messages import LookupRequest
from service.child import run_child
from service.key_folder import LiveKeys, live_keys
from transport.loop import Loop
from transport.ports import Transport
from transport.sockets import Role, open_context
from transport.zmq_transport import ZmqTransport


class LookupProcess:
    """One run of a lookup. ``keys`` say who is let in; None: everybody. Raises `NetworkError` when it cannot listen."""

    def __init__(
        self, settings: LookupSettings, transport: Transport, rng: Random, keys: LiveKeys | None = None
    ) -> None:
        self._transport, self._keys = transport, keys
        self._requests = transport.listen(Role.TRACKER_ROUTER, settings.listen, REPLY_BYTES_MAX)
        self._outbox = Outbox(self._requests, transport.now)
        self._intake = Intake("requests")
        self.core = Lookup(rng)
        self._link = RegistrarLine(transport, settings.link, self.core, self._perform)
        self.close = self._link.close
        requests: Decoder[LookupRequest] = Decoder(LookupRequest)
        self._requests.hear(requests, self._on_request, self._refuse)

    def _on_request(self, route: bytes, message: LookupRequest, now: float) -> None:
        self._perform(self.core.handle(route, message, now))

    def _refuse(self, route: bytes, data: bytes, error: ProtocolError) -> None:
        self._outbox.put(Reply(route, self._intake.refuse(data, error, self._transport.now())))

    # --- what is to be done ------------------------------------------------------------------------------

    def tick(self, now: float) -> float | None:
        """Called after every turn; returns when to be called at the latest."""
        link_at = self._link.tick(now)
        self._perform(self.core.tick(now))
        deadlines = [self.core.next_deadline(), link_at]
        if self._keys is not None:
            if self._keys.refresh(now):
                self._requests.recheck()
            deadlines.append(self._keys.next_deadline())
        self._perform(self._intake.note(now))
        deadlines.append(self._intake.next_deadline())
        self._outbox.send()
        return min((at for at in deadlines if at is not None), default=None)

    def _perform(self, effects: Sequence[LookupEffect]) -> None:
        for effect in effects:
            if isinstance(effect, Reply):
                self._outbox.put(effect)
            elif isinstance(effect, SendRegistrar):
                self._link.send(effect.message)
            else:
                self._transport.note(effect.level, effect.text)


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
