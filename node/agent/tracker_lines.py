"""The agent's connections to one of its trackers: to the registrar, to a lookup, to the roster. A shell: it decides
nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random
from typing import Any

from node.agent import lookups as lk
from node.agent import membership as mb
from node.agent.core import AgentCore
from node.agent.dialled import Dialled
from node.agent.effects import Subscribe
from node.agent.outage import Outage
from node.host import Host
from node.work_queue import WorkQueue
from protocol.codec import ROSTER_DECODER, Decoder
from protocol.limits import REPLY_BYTES_MAX
from protocol.messages import LookupReply, RegistrarReply, Roster
from transport.sockets import Role

REGISTRAR_DECODER: Decoder[RegistrarReply] = Decoder(RegistrarReply, REPLY_BYTES_MAX)
LOOKUP_DECODER: Decoder[LookupReply] = Decoder(LookupReply, REPLY_BYTES_MAX)
Perform = Callable[[Iterable[Any]], None]


class TrackerLines:
    """To tracker ``number`` of ``core``, whose effects ``perform`` carries out. ``hears`` tells whether a published
    event gets through; ``key`` as in `Transport.dial`."""

    def __init__(
        self,
        core: AgentCore,
        number: int,
        host: Host,
        names: WorkQueue,
        perform: Perform,
        rng: Random,
        key: str,
        hears: Callable[[int, Roster], bool],
    ) -> None:
        self._core, self._number, self._host, self._perform = core, number, host, perform
        self._names, self._rng, self._key, self._hears = names, rng, key, hears
        told = (self._on_registrar, self._on_registrar_connected, self._on_registrar_lost)
        endpoint = core.trackers.all[number].endpoint
        self.registrar = Dialled(host, names, Role.CONTROL_DEALER, endpoint, REGISTRAR_DECODER, *told, rng, key)
        self._lookup: Dialled[LookupReply] | None = None
        self._roster: Dialled[Roster] | None = None
        self._roster_outage = Outage()

    def dialled(self) -> list[Dialled[Any]]:
        return [one for one in (self.registrar, self._lookup, self._roster) if one is not None]

    def perform(self, effect: mb.Send | lk.Dial | lk.Ask | Subscribe) -> None:
        if isinstance(effect, mb.Send):
            self.registrar.send(effect.message)
        elif isinstance(effect, lk.Ask):
            assert self._lookup is not None
            self._lookup.send(effect.message)
        elif isinstance(effect, lk.Dial):
            self._dial(effect.endpoint)
        elif self._roster is None or self._roster.endpoint != effect.endpoint:
            self._subscribe(effect.endpoint)

    def _dial(self, endpoint: str) -> None:
        if self._lookup is not None:
            self._lookup.close()
        told = (self._on_lookup, self._on_lookup_connected, self._on_lookup_lost)
        self._lookup = Dialled(
            self._host, self._names, Role.CONTROL_DEALER, endpoint, LOOKUP_DECODER, *told, self._rng, self._key
        )

    def _subscribe(self, endpoint: str) -> None:
        if self._roster is not None:
            self._roster.close()
        told = (self._on_roster, self._on_roster_connected, self._on_roster_lost)
        self._roster = Dialled(
            self._host, self._names, Role.ROSTER_SUB, endpoint, ROSTER_DECODER, *told, self._rng, self._key
        )

    # --- what arrives ------------------------------------------------------------------------------------

    def _on_registrar(self, reply: RegistrarReply) -> None:
        self._perform(self._core.registrar_says(self._number, reply, self._host.now()))

    def _on_registrar_connected(self, host: str) -> None:
        self._perform(self._core.registrar_connected(self._number, host, self._host.now()))

    def _on_registrar_lost(self, why: str, denied: bool) -> None:
        self._perform(self._core.registrar_lost(self._number, why, denied, self._host.now()))

    def _on_lookup(self, reply: LookupReply) -> None:
        self._perform(self._core.lookup_says(self._number, reply, self._host.now()))

    def _on_lookup_connected(self, _host: str) -> None:
        self._perform(self._core.lookup_connected(self._number, self._host.now()))

    def _on_lookup_lost(self, why: str, _denied: bool) -> None:
        self._perform(self._core.lookup_lost(self._number, why, self._host.now()))

    def _on_roster(self, event: Roster) -> None:
        if self._hears(self._number, event):
            self._perform(self._core.roster_says(self._number, event, self._host.now()))

    def _on_roster_connected(self, _host: str) -> None:
        assert self._roster is not None
        if self._roster_outage.end(self._host.now()) is not None:
            self._host.note("info", f"roster {self._roster.endpoint} is back")

    def _on_roster_lost(self, why: str, _denied: bool) -> None:
        assert self._roster is not None
        now = self._host.now()
        if self._roster_outage.goes_on(why, now, now):
            self._host.note("warning", f"roster {self._roster.endpoint}: {why}")
