"""One client's conversations with registrar and lookup (PROTOCOL.md, section 4 and 5), every reply checked. Pure.

A conversation is a generator: it yields a request, is sent the reply, and ends when it is over. A reply that is wrong
raises `Fault` out of it. So each client has at most one request open. When a conversation is begun, and how long a
reply may take, is `cluster.load.crew`'s.

`node.agent.membership` is not used: it repeats what is not answered and decides itself when to send a heartbeat, which
would hide what is to be counted here. How a list is cut into messages is the peers' own (`node.agent.announced`).
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from enum import Enum
from random import Random
from typing import NamedTuple, TypeVar

from cluster.load.content import common_entry, endpoint_of, own_entry, peer_of
from cluster.load.mix import Operation
from node.agent.announced import AnnouncedList, ToldList
from node.agent.lookups import BEHIND_COUNT_MAX
from protocol.limits import SEEDERS_COUNT_MAX
from protocol.messages import (
    Behind,
    Entry,
    Error,
    GetSeederList,
    GetTorrentList,
    Goodbye,
    Heartbeat,
    Join,
    Leave,
    ListRequest,
    LookupReply,
    LookupRequest,
    Ok,
    PageOk,
    RegistrarReply,
    RegistrarRequest,
    SeederList,
    TorrentEntry,
    TorrentList,
    Update,
    Welcome,
)

TOKEN_BYTES = 32
LOADS_COUNT = 3
"""Numbers of upload sessions that heartbeats tell, so that the figure changes at times."""
_RUN_BITS = 52


class Channel(Enum):
    """Which of a client's two sockets."""

    REGISTRAR = "registrar"
    LOOKUP = "lookup"


class Request(NamedTuple):
    channel: Channel
    message: RegistrarRequest | LookupRequest


Reply = RegistrarReply | LookupReply
Conversation = Generator[Request, Reply, None]
R = TypeVar("R")


class Fault(Exception):
    """What a client was told, or not told, is wrong. ``kind`` is counted by, ``detail`` is for one example."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind = kind
        self.detail = detail


class Client:
    """Client ``number`` with ``files`` files of its own, the common one, and one that it adds and removes.

    ``addresses`` has the endpoint of every client there is. ``others`` are those whose state is known here, itself
    included: what the tracker says about them is checked to the letter.
    """

    def __init__(
        self, number: int, files: int, addresses: Mapping[str, str], others: Sequence[Client], rng: Random
    ) -> None:
        self.peer = peer_of(number)
        self.member = False
        self.epoch = 0
        self.seq = 0
        self.heartbeat_seconds = 0.0
        self.changes = 0
        """Counts the beginnings and the ends of its changes."""
        self.asked_again = 0
        """How often a lookup was behind."""
        self._changing = False
        """Does nobody know what the tracker shows of it?"""
        self._number, self._files, self._addresses, self._others, self._rng = number, files, addresses, others, rng
        self._token = rng.randbytes(TOKEN_BYTES)
        self._run = 0
        self._last_id = 0
        self._extra = own_entry(number, files)
        self._list = AnnouncedList()
        self._told = ToldList(self._list, self.peer, self._token)
        for file in range(files):
            self._list.set(own_entry(number, file))
        self._list.set(common_entry())

    # --- conversations -----------------------------------------------------------------------------------

    def operation(self, operation: Operation) -> Conversation:
        """The conversation that ``operation`` is."""
        match operation:
            case Operation.HEARTBEAT:
                return self.heartbeat()
            case Operation.UPDATE:
                return self.update()
            case Operation.SEEDERS:
                return self.seeders(*self._choose())
            case Operation.LISTING:
                return self.listing(*self._choose())
            case Operation.REJOIN:
                return self.rejoin()

    def join(self) -> Conversation:
        """Into the network, with the whole list."""
        self.lose_track()
        self._run = 1 + self._rng.getrandbits(_RUN_BITS)
        endpoint = endpoint_of(self._number)
        join = Join(self._new_id(), self.peer, self._token, self.peer, endpoint, self._run)
        wanted = _expect((yield Request(Channel.REGISTRAR, join)), ListRequest)
        self._told.snapshot()
        number = offset = 0
        while True:
            page, offset = self._told.page(self._new_id(), self._run, wanted.list_id, number, offset)
            reply = yield Request(Channel.REGISTRAR, page)
            if page.last:
                break
            taken = _expect(reply, PageOk)
            if (taken.list_id, taken.page) != (wanted.list_id, number):
                raise Fault("another page", f"page {taken.page} was acknowledged, page {number} was sent")
            number += 1
        self._welcomed(_expect(reply, Welcome))
        self._settle()

    def heartbeat(self) -> Conversation:
        load = self._rng.randrange(LOADS_COUNT)
        beat = Heartbeat(self._new_id(), self.peer, self._token, self._told.version, load, self._run)
        self._reached(_expect((yield Request(Channel.REGISTRAR, beat)), Ok))

    def update(self) -> Conversation:
        """Add the extra file, or remove it when it is there."""
        self.lose_track()
        if not self._list.remove(self._extra.digest):
            self._list.set(self._extra)
        update = self._told.next_news(self._new_id(), self._run)
        assert isinstance(update, Update)
        self._reached(_expect((yield Request(Channel.REGISTRAR, update)), Ok))
        self._settle()

    def leave(self) -> Conversation:
        """Out of the network, and a look whether a lookup has forgotten it."""
        self.lose_track()
        leave = Leave(self._new_id(), self.peer, self._token, self._run)
        self._reached(_expect((yield Request(Channel.REGISTRAR, leave)), Goodbye))
        self.member = False
        self._settle()
        yield from self.seeders(self, own_entry(self._number, 0))

    def rejoin(self) -> Conversation:
        yield from self.leave()
        yield from self.join()

    def seeders(self, target: Client, entry: Entry) -> Conversation:
        """Who has ``entry``, which ``target`` may list?"""
        before, min_seq = target.changes, max(self.seq, target.seq)
        question = GetSeederList(self._new_id(), entry.digest, "", self.epoch, min_seq)
        reply = _expect((yield from self._look(question)), SeederList)
        self._check_state(reply.epoch, reply.seq, min_seq)
        for seeder in reply.seeders:
            if self._addresses.get(seeder.peer) != seeder.endpoint or not seeder.whole:
                raise Fault("a wrong source", f"{seeder} of {entry.name}")
        peers = [seeder.peer for seeder in reply.seeders]
        if len(peers) != min(reply.total, SEEDERS_COUNT_MAX):
            raise Fault("a wrong number of sources", f"{len(peers)} of {reply.total} of {entry.name}")
        if not target.settled_since(before):
            return
        if entry == common_entry():
            if target.lists(entry) and target.peer not in peers and reply.total <= SEEDERS_COUNT_MAX:
                raise Fault("a source is missing", f"{target.peer} of {entry.name}")
        elif target.lists(entry) != (peers == [target.peer]):
            raise Fault(_wrong(target.lists(entry)), f"{entry.name} of {target.peer}: sources {peers}")

    def listing(self, target: Client, entry: Entry) -> Conversation:
        """What is called as ``entry`` is, which ``target`` may list?"""
        before, min_seq = target.changes, max(self.seq, target.seq)
        question = GetTorrentList(self._new_id(), entry.name, True, "", self.epoch, min_seq)
        reply = _expect((yield from self._look(question)), TorrentList)
        self._check_state(reply.epoch, reply.seq, min_seq)
        common = entry == common_entry()
        for found in reply.entries:
            if not _same(found, entry) or found.partial or found.requesting or not found.have or reply.next:
                raise Fault("a wrong entry", f"{found} for {entry.name}")
            if found.have > 1 and not common:
                raise Fault("a wrong number of sources", f"{found.have} of {entry.name}")
        expected = target.lists(entry)
        if target.settled_since(before) and bool(reply.entries) != expected and (expected or not common):
            raise Fault(_wrong(expected), f"{entry.name} of {target.peer}")

    # --- what is known of it -----------------------------------------------------------------------------

    def lists(self, entry: Entry) -> bool:
        """Does the tracker have ``entry`` of it, as far as it knows itself?"""
        return self.member and self._list.get(entry.digest) is not None

    def settled_since(self, changes: int) -> bool:
        """Was it certain what the tracker shows of it when ``changes`` was read, and has it been so since?"""
        return self.changes == changes and not self._changing

    def lose_track(self) -> None:
        """From here on it is not certain, until its next change is done."""
        self.changes += 1
        self._changing = True

    def _settle(self) -> None:
        self.changes += 1
        self._changing = False

    # --- steps -------------------------------------------------------------------------------------------

    def _choose(self) -> tuple[Client, Entry]:
        """Whose file is asked for: any of somebody's own, the one that comes and goes, or the common one."""
        target = self._rng.choice(self._others)
        file = self._rng.randrange(-1, self._files + 1)
        return target, common_entry() if file < 0 else own_entry(target._number, file)

    def _look(self, question: GetSeederList | GetTorrentList) -> Generator[Request, Reply, Reply]:
        """The lookup's reply; asked again while it is behind, as peers do."""
        for _ in range(BEHIND_COUNT_MAX):
            reply = yield Request(Channel.LOOKUP, question)
            if not isinstance(reply, Behind):
                return reply
            self.asked_again += 1
        raise Fault("always behind", f"{BEHIND_COUNT_MAX} times in a row, where seq {question.min_seq} was asked for")

    def _welcomed(self, welcome: Welcome) -> None:
        if welcome.endpoint != self._addresses[self.peer] or not welcome.lookups:
            raise Fault("a wrong welcome", f"{welcome}")
        self._reached(welcome)
        self.heartbeat_seconds = welcome.heartbeat_seconds
        self.member = True

    def _reached(self, reply: Ok | Welcome | Goodbye) -> None:
        """The registrar has a state that contains what this client asked for."""
        self._check_state(reply.epoch, reply.seq, self.seq)
        self.epoch, self.seq = reply.epoch, reply.seq

    def _check_state(self, epoch: int, seq: int, min_seq: int) -> None:
        if self.epoch and epoch != self.epoch:
            raise Fault("another epoch", f"{epoch}, and before {self.epoch}: the registrar was restarted")
        if seq < min_seq:
            raise Fault("an old state", f"seq {seq} where {min_seq} was reached")

    def _new_id(self) -> int:
        self._last_id += 1
        return self._last_id


def _expect(reply: Reply, kind: type[R]) -> R:
    """``reply``, if it is of this ``kind``."""
    if isinstance(reply, kind):
        return reply
    if isinstance(reply, Error):
        raise Fault(f"refused ({reply.code})", reply.detail)
    raise Fault(f"answered with {type(reply).__name__}", f"instead of {kind.__name__}")


def _wrong(expected: bool) -> str:
    return "what was announced is missing" if expected else "what was removed is found"


def _same(found: TorrentEntry, entry: Entry) -> bool:
    return (found.name, found.length, found.digest, found.manifest) == (
        entry.name,
        entry.length,
        entry.digest,
        entry.manifest,
    )
