"""Actors for the tracker's tests: a registrar under a clock that jumps, and peers that talk to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from msgspec.structs import replace

from broker.effects import Note, Publish, RegistrarEffect, Reply, SendLookup
from broker.registrar_core import Registrar, Terms
from broker.registry import Registry
from protocol.messages import (
    Alias,
    Beat,
    DownloadState,
    Entry,
    FileList,
    Heartbeat,
    Holding,
    Join,
    Leave,
    ListRequest,
    MemberRequest,
    PageOk,
    RegistrarReply,
    Roster,
    RosterEvent,
    SourceAdded,
    Transfer,
    TransferState,
    Update,
    Welcome,
)

EPOCH = 1_700_000_000_000
LEASE = 15.0
TERMS = Terms(LEASE, 5.0, 100, "tcp://*:5551", ("tcp://*:5552",))

R = TypeVar("R", bound=RegistrarReply)


def digest(number: int) -> str:
    """The digest of content number ``number``."""
    return f"blake3:{number:064x}"


def entry(
    number: int, holding: Holding = "whole", name: str = "", aliases: Sequence[str] = (), signature: bytes = b""
) -> Entry:
    """A list entry for content number ``number``."""
    manifest, also = digest(10_000_000 + number), tuple(Alias(alias, digest(10_000_000 + number)) for alias in aliases)
    named = (manifest, name or f"file-{number:06d}", 1000 + number)
    return Entry(digest(number), *named, holding, also, signature=signature)


def picture(registry: Registry) -> object:
    """Everything a registry knows, for comparing two of them."""
    members = [
        (m.peer, m.name, m.endpoint, m.load, tuple(m.downloads), m.whole, m.partial, m.requesting)
        for m in registry.members.values()
    ]
    entries = [
        (
            peer,
            d,
            registry.holding(peer, d),
            one.manifest,
            one.name,
            one.length,
            one.announced,
            one.signature,
            str(cell),
        )
        for peer, member in registry.members.items()
        for d, listing in member.listings.items()
        for cell in [registry.swarms[d].cell(peer)]
        for one in (listing, *member.aliases.get(d, ()))
    ]
    return sorted(members), sorted(entries)


class Stage:
    """A registrar, a clock, and what has been published so far."""

    def __init__(self, terms: Terms = TERMS, epoch: int = EPOCH) -> None:
        self.now = 1000.0
        self.registrar = Registrar(terms, epoch, self.now)
        self.published: list[Roster] = []
        self.notes: list[str] = []
        self.to_lookups: list[SendLookup] = []
        self.moments: list[int] = []

    @property
    def registry(self) -> Registry:
        return self.registrar.registry

    def ask(self, message: MemberRequest, kind: type[R], address: str = "10.0.0.9") -> R:
        """Send ``message``; the reply, which must be of type ``kind`` and carry the id. The moments of announcement in
        it are taken out, and are in `moments`."""
        effects = self.registrar.handle(b"route", address, message, self.now)
        last = effects[-1]
        assert isinstance(last, Reply), effects
        self.perform(effects[:-1])
        assert last.route == b"route"
        assert isinstance(last.message, kind), last.message
        assert last.message.id == message.id
        self.moments = list(getattr(last.message, "announced", []))
        return replace(last.message, announced=[]) if self.moments else last.message

    def perform(self, effects: Sequence[RegistrarEffect]) -> None:
        for effect in effects:
            assert not isinstance(effect, Reply), effect
            if isinstance(effect, Publish):
                self.published.append(effect.roster)
            elif isinstance(effect, Note):
                self.notes.append(effect.text)
            elif isinstance(effect, SendLookup):
                self.to_lookups.append(effect)

    def pass_time(self, seconds: float) -> None:
        """Let ``seconds`` go by, ticking whenever the registrar wants it."""
        end = self.now + seconds
        while self.registrar.next_deadline() <= end:
            self.now = max(self.now, self.registrar.next_deadline())
            self.perform(self.registrar.tick(self.now))
        self.now = end

    def hints(self) -> list[RosterEvent]:
        """What was published since the last call, without beats, and without moments of announcement: these are in
        `moments`."""
        published, self.published = self.published, []
        events = [roster.event for roster in published if not isinstance(roster.event, Beat)]
        self.moments = [event.announced for event in events if isinstance(event, SourceAdded)]
        return [replace(event, announced=0) if isinstance(event, SourceAdded) else event for event in events]

    def peer(self, name: str, *entries: Entry) -> Actor:
        """A new peer that has joined with ``entries``."""
        actor = Actor(self, name)
        actor.join(*entries)
        return actor


class Actor:
    """A peer that does what it is told, in order."""

    def __init__(self, stage: Stage, name: str, token: bytes = b"", run: int = 1, address: str = "10.0.0.9") -> None:
        self.stage = stage
        self.address = address
        self.name = name
        self.token = token or name.encode().ljust(16, b"-")
        self.run = run
        self.version = 1
        self.endpoint = "tcp://*:7000"
        self._ids = 0

    def id(self) -> int:
        self._ids += 1
        return self._ids

    def ask_join(self, kind: type[R]) -> R:
        join = Join(self.id(), self.name, self.token, self.name.title(), self.endpoint, self.run)
        return self.stage.ask(join, kind, self.address)

    def page(self, list_id: int, page: int, last: bool, entries: Sequence[Entry], kind: type[R]) -> R:
        whose = (self.id(), self.name, self.token)
        message = FileList(*whose, list_id, page, last, self.version, list(entries), self.run)
        return self.stage.ask(message, kind)

    def join(self, *entries: Entry) -> Welcome:
        return self.send_list(self.ask_join(ListRequest).list_id, *entries)

    def send_list(self, list_id: int, *entries: Entry) -> Welcome:
        """All pages of a list, two entries each."""
        pages = [entries[start : start + 2] for start in range(0, len(entries), 2)] or [()]
        for number, page in enumerate(pages[:-1]):
            self.page(list_id, number, False, page, PageOk)
        return self.page(list_id, len(pages) - 1, True, pages[-1], Welcome)

    def heartbeat(self, kind: type[R], load: int = 0, downloads: list[DownloadState] | None = None, rate: int = 0) -> R:
        figures = self.version, load, self.run, downloads, None, None, rate
        return self.stage.ask(Heartbeat(self.id(), self.name, self.token, *figures), kind)

    def update(self, kind: type[R], added: Sequence[Entry] = (), removed: Sequence[int] = (), base: int = 0) -> R:
        """The next version of the list; it counts as taken when the reply was ``Ok``."""
        message = Update(
            self.id(),
            self.name,
            self.token,
            base or self.version,
            self.version + 1,
            list(added),
            list(map(digest, removed)),
            self.run,
        )
        reply = self.stage.ask(message, kind)
        self.version += 1
        return reply

    def transfer(self, number: int, state: TransferState, kind: type[R]) -> R:
        return self.stage.ask(Transfer(self.id(), self.name, self.token, digest(number), state, self.run), kind)

    def leave(self, kind: type[R]) -> R:
        return self.stage.ask(Leave(self.id(), self.name, self.token, self.run), kind)
