"""One source of a download, and the pool of all of them: who is known, connected, trusted. PROTOCOL.md, section 6.

Pure. `SourcePool` decides whom to connect to, notices who does not answer, waits before it tries again and does not go
back to a banned peer unless it is pardoned. What is asked of a source, and what becomes of its pieces, is `download`'s.

Of a swarm larger than the pool, those with the lowest ranks are in it: first those that have the content from
elsewhere, then this peer's mates in the `grid`, then others, which each peer draws at random. Those who are heard of
first would be the same for everybody.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from math import inf
from random import Random
from typing import NamedTuple

from node.downloader.grid import Grid
from node.local_messages import SourceStanding
from node.pace import Average, Recent
from node.rate_limit import TokenBucket
from protocol.bitfield import Bitfield
from protocol.endpoints import parse_endpoint
from protocol.errors import ProtocolError
from protocol.limits import MIB, SOURCES_PER_DOWNLOAD_COUNT_MAX, TEST_IDLE_SECONDS, TEST_TIMEOUT_SECONDS
from protocol.messages import PieceServerRequest, SeederEntry

SOURCES_COUNT_MIN, SOURCES_BYTES_MAX = 4, 256 * MIB
"""A piece may be on its way from each source, whatever its length: where pieces are long there are fewer sources, but
still a few."""
STATUS_COUNT_MAX, STATUS_RATE_MAX = 200, 20.0
"""Messages other than pieces that a source may send at once, and a second on average. An honest one says what is new a
few times a second."""
RETRY_SECONDS_FIRST, RETRY_SECONDS_MAX = 0.5, 5.0
PATIENCE_DOUBLINGS_MAX = 6
"""A source given up for its silence may take twice as long the next time: else nothing would come over a slow link."""


@dataclass(frozen=True, slots=True)
class Connect:
    """Open a connection of its own for the session."""

    session: int
    endpoint: str
    key: str = ""


@dataclass(frozen=True, slots=True)
class Disconnect:
    """Close the session's connection; what was sent to it just before may still go out."""

    session: int


@dataclass(frozen=True, slots=True)
class Send:
    session: int
    message: PieceServerRequest


@dataclass(frozen=True, slots=True)
class Banned:
    """The peer did something no honest peer does, or its disk did; see `Sessions` for how long it is not used."""

    peer: str
    name: str
    reason: str


class SourceState(Enum):
    CONNECTING = auto()
    TESTING = auto()
    READY = auto()


class Farewell(Enum):
    """Why a session ends without trouble, and so what becomes of the peer."""

    USELESS = auto()
    """It has nothing for us: tried again later, each time a little later."""
    FRIENDLY = auto()
    """We have no use for it now: tried again as soon as we have."""
    FOREVER = auto()
    """It is not to be found any more, unless it is named again."""


class Trouble(NamedTuple):
    """Why a peer is of no use now. It is tried again, others first; one that is ``banned`` is not. ``reason`` adds to
    what ``state`` says; see `SourceReport`."""

    state: SourceStanding
    reason: str = ""


NEVER_FAILED = -inf
NO_ANSWER = Trouble("unreachable", "no answer")
OTHER_PEER = Trouble("other_peer")
NO_CONTENT = Trouble("no_content")
OTHER_MANIFEST = Trouble("other_manifest")
NOT_SERVING = Trouble("not_serving")
UNABLE = {"no": NO_CONTENT, "later": NOT_SERVING, "other_peer": OTHER_PEER}
"""By the state in a `Status` of a source that has nothing to give."""


@dataclass(slots=True)
class Candidate:
    """A peer that is, or was, named as a source. ``named`` False: it is not to be gone back to unless named again."""

    entry: SeederEntry
    rank: float
    named: bool = True
    failures: int = 0
    retry_at: float = NEVER_FAILED
    patience: int = 1
    trouble: Trouble | None = None
    """What was wrong with it the last time; it answers first before that is forgotten, so nothing flickers."""
    address: str = ""

    def __post_init__(self) -> None:
        self.address = address_of(self.entry)

    @property
    def usable(self) -> bool:
        """Whether it may be connected to, now or later."""
        return self.named and not self.banned

    @property
    def banned(self) -> bool:
        return self.trouble is not None and self.trouble.state == "banned"

    def named_as(self, entry: SeederEntry) -> bool:
        """A lookup or the roster names it; a new endpoint clears its failures. True when that is news."""
        fresh = not self.named
        if fresh or self.entry.endpoint != entry.endpoint:
            self.failures, self.retry_at = 0, NEVER_FAILED
            if not self.banned:
                self.trouble = None
        self.entry, self.named, self.address = entry, True, address_of(entry)
        return fresh

    def failed(self, now: float) -> None:
        """It is tried again later, each time a little later."""
        self.retry_at = now + min(RETRY_SECONDS_MAX, RETRY_SECONDS_FIRST * 2 ** min(self.failures, 10))
        self.failures += 1


@dataclass(slots=True, eq=False)
class Source:
    """One session with one piece server."""

    entry: SeederEntry
    session: int
    since: float
    bits: Bitfield
    state: SourceState = SourceState.CONNECTING
    heard_at: float = 0.0
    said_at: float = 0.0
    polled_at: float = 0.0
    """When it was last tested."""
    stock: bool = False
    alone: bool = False
    idle: bool = False
    """As in its last `Status`; one that pushes is idle no more."""
    snubs: bool = False
    """It was overdue, and nothing of it has come since: it is asked for what only it has (BEP 3)."""
    assigns: bool = False
    """It has had a stock."""
    credit: int = 0
    """Pieces that may come and have not."""
    arrived: int = 0
    """Pieces that have come and that it has not been told of..."""
    receipt: int = 0
    """...and what came with the last of them."""
    asked: int = 0
    """Pieces that it was asked to assign and has not, besides..."""
    relays: int = 0
    """...those it has in this session."""
    promised: dict[int, None] = field(default_factory=dict)
    """Missing pieces that it is to push, in order."""
    gets: dict[int, float] = field(default_factory=dict)
    """Missing pieces that it was asked for, and when, in order."""
    taken_back: dict[int, bool] = field(default_factory=dict)
    """Pieces that it was told it need not send (True), or took back itself: a promise of one was made before that."""
    assigned_elsewhere: dict[int, None] = field(default_factory=dict)
    """Pieces that others have assigned, or push themselves, and that it has not been told of."""
    busy_since: float = 0.0
    """Since when it has been at the piece that it sends next..."""
    waited_since: float = 0.0
    """...and since when that is waited for: what it was to send before it was overdue may come all the same."""
    interval: Average = field(default_factory=Average)
    """Seconds from one piece of it to the next, while it owed any."""
    recent: Recent = field(default_factory=Recent)
    """When the last pieces of it came."""
    patience: int = 1
    """How much longer than usual it may take: see `SourcePool.be_patient`."""
    tests: int = 0
    """`Test`s that it has not answered: the answers may all come at once, after a piece that took its time."""
    heard_count: int = 0
    """Pieces of this download that had arrived when it was last heard."""
    words: TokenBucket = field(
        default_factory=lambda: TokenBucket(STATUS_RATE_MAX, 0.0, STATUS_COUNT_MAX / STATUS_RATE_MAX)
    )
    """How many messages it might send."""

    @property
    def answered(self) -> bool:
        """Whether it has said anything yet that the peer we wanted would say."""
        return self.state is SourceState.READY

    def dial(self) -> Connect:
        return Connect(self.session, self.entry.endpoint, self.entry.key)

    def is_unanswered(self, now: float) -> bool:
        """Whether it has not answered in time."""
        return not self.answered and now - self.since >= TEST_TIMEOUT_SECONDS

    @property
    def owes(self) -> bool:
        return bool(self.promised or self.gets)

    @property
    def is_to_send(self) -> bool:
        """Whether something may be expected of it."""
        return self.owes and not self.snubs

    def answers_for(self, piece: int) -> bool:
        """Whether it owes ``piece``, or did when it was last told of it: it may say once that it does not have it."""
        return piece in self.promised or piece in self.gets or self.taken_back.get(piece, False)

    def since_when(self, piece: int) -> float:
        """Since when it is at ``piece``, which comes next: since the last one came, or since it was asked for this."""
        return max(self.busy_since, self.since, self.gets.get(piece, 0.0))

    def owed_from(self, now: float) -> None:
        """It is to owe one more piece: if it owes none yet, its time runs from now."""
        if not self.owes:
            self.busy_since = now
            if not self.snubs:
                self.waited_since = now

    def delivered(self, now: float) -> None:
        """A piece of it has come."""
        if self.owes:
            self.interval.add(now - self.waited_since)
        self.busy_since = self.waited_since = now
        self.snubs = False
        self.recent.note(now)

    def floods(self, now: float) -> bool:
        """A message that is no piece has come: whether those are too many."""
        return not self.words.spend(1, now)


def address_of(entry: SeederEntry) -> str:
    """Where it is to be found, in one spelling."""
    try:
        return str(parse_endpoint(entry.endpoint))
    except ProtocolError:
        return entry.endpoint


class SourcePool:
    """The sources of one download. ``sessions`` yields numbers unique within the process, ``rng`` draws ranks,
    ``limit`` bounds how many there are at a time.

    Whoever joins may take any number of names, but not of addresses: candidates at one address are one source, in use
    once at a time, dialled again only after a moment when that failed, and banned together."""

    def __init__(self, sessions: Iterator[int], rng: Random, limit: int = 1) -> None:
        self._piece_count = 0
        self.limit = limit
        self.grid = Grid()
        self._sessions = sessions
        self._rank = rng.random
        self._candidates: dict[str, Candidate] = {}
        self._active: dict[int, Source] = {}
        self._peers: dict[str, int] = {}
        self._busy: set[str] = set()
        """Addresses of sources."""
        self._closed: dict[str, float] = {}
        """Addresses that are not to be dialled, and until when."""

    def fetch_pieces(self, count: int, length: int) -> None:
        """Sources, those there are too, are for ``count`` pieces of ``length`` bytes from now on."""
        self._piece_count = count
        self.limit = min(SOURCES_PER_DOWNLOAD_COUNT_MAX, max(SOURCES_COUNT_MIN, SOURCES_BYTES_MAX // length))
        self.grid.limit = self.limit
        for source in self._active.values():
            source.bits = Bitfield(count)

    # --- who there is ------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._active)

    def __iter__(self) -> Iterator[Source]:
        return iter(list(self._active.values()))

    def get(self, session: int) -> Source | None:
        return self._active.get(session)

    def of_peer(self, peer: str) -> Source | None:
        session = self._peers.get(peer)
        return None if session is None else self._active[session]

    def ready(self) -> Iterator[Source]:
        """Those that can be asked for something, as long as none comes or goes."""
        return (source for source in self._active.values() if source.state is SourceState.READY)

    def candidates(self) -> list[Candidate]:
        """Everybody that was ever named."""
        return list(self._candidates.values())

    def is_banned(self, peer: str) -> bool:
        return peer in self._candidates and self._candidates[peer].banned

    @property
    def banned(self) -> dict[str, str]:
        """Peer id to what it did."""
        return {peer: one.trouble.reason for peer, one in self._candidates.items() if one.trouble and one.banned}

    # --- who comes and goes ------------------------------------------------------------------------------

    def learn(self, entries: Sequence[SeederEntry], listed: int | None = None) -> list[str]:
        """A lookup or the roster names these sources. Returns the peers that were not known. ``listed`` is how many
        the tracker has in all, as far as it is sure: where these are all, others that cannot be used are forgotten."""
        for entry in entries:
            if entry.cell is not None:
                self.grid.note(None, entry.cell + 1)
        if len(entries) == listed:
            self._forget_unlisted({entry.peer for entry in entries})
        fresh: list[str] = []
        for entry in entries:
            known = self._candidates.get(entry.peer)
            if known is None:
                self._candidates[entry.peer] = Candidate(entry, self._rank())
                fresh.append(entry.peer)
            elif known.named_as(entry):
                fresh.append(entry.peer)
        return fresh

    def _forget_unlisted(self, listed: set[str]) -> None:
        for peer, candidate in self._candidates.items():
            if peer not in listed and peer not in self._peers and candidate.trouble is not None:
                candidate.named = False

    def forget(self, peer: str) -> None:
        """The peer left the network or no longer has the content: do not go back to it unless named again."""
        if peer in self._candidates:
            self._candidates[peer].named = False

    def forgotten(self) -> list[Source]:
        """Sources whose peer was forgotten while the session went on."""
        return [source for source in self._active.values() if not self._candidates[source.entry.peer].named]

    def connect(self, now: float) -> list[Source]:
        """Open new sessions with whoever is known, idle and due, those that never failed first and of these the lowest
        ranks, then those that have been due longest; at most ``limit`` in all."""
        room = self.limit - len(self._active)
        if room <= 0:
            return []
        waiting = self._waiting(now)
        if len(waiting) > room:
            waiting = heapq.nsmallest(room, waiting, key=self._order)
        else:
            waiting.sort(key=lambda peer: self._candidates[peer].retry_at)
        return [self.open(peer, now) for peer in waiting]

    def open(self, peer: str, now: float) -> Source:
        """Open a session with the known ``peer``, which has none."""
        candidate = self._candidates[peer]
        bits = Bitfield(self._piece_count)
        source = Source(candidate.entry, next(self._sessions), now, bits, heard_at=now)
        source.patience = candidate.patience
        self._active[source.session] = source
        self._peers[peer] = source.session
        self._busy.add(candidate.address)
        return source

    def outranked(self, now: float, newcomers: Iterable[str] | None = None) -> tuple[Source, str] | None:
        """When there is no room: a source that owes nothing, and who ought to be there in its place, one of
        ``newcomers`` or, if None, of all that wait and never failed."""
        if len(self._active) < self.limit:
            return None
        free = [source for source in self._active.values() if not source.owes]
        if not free:
            return None
        peers = self._waiting(now) if newcomers is None else [peer for peer in newcomers if self._may_dial(peer, now)]
        best = min((peer for peer in peers if not self._candidates[peer].failures), key=self._order, default=None)
        if best is None:
            return None
        worst = max(free, key=lambda source: self._rank_of(self._candidates[source.entry.peer]))
        if self._rank_of(self._candidates[best]) >= self._rank_of(self._candidates[worst.entry.peer]):
            return None
        return worst, best

    def _order(self, peer: str) -> tuple[float, tuple[int, float]]:
        """Nobody waits for ever for a place: whoever fails more often rests longer, and then has its turn."""
        candidate = self._candidates[peer]
        return candidate.retry_at, self._rank_of(candidate)

    def _rank_of(self, candidate: Candidate) -> tuple[int, float]:
        """The lower, the rather it is to be a source."""
        return self.grid.rank(candidate.entry.cell), candidate.rank

    @property
    def is_crowded(self) -> bool:
        """Whether more are known, and might be used, than there may be."""
        usable = sum(candidate.usable for candidate in self._candidates.values())
        return len(self._active) >= self.limit and usable > len(self._active)

    def leaves_out(self, now: float) -> bool:
        """Whether somebody could be connected to, were there not ``limit`` others."""
        return len(self._active) >= self.limit and bool(self._waiting(now))

    def _waiting(self, now: float) -> list[str]:
        """Peers that are known, idle and due, one at each address, in the order in which they became known."""
        found: dict[str, str] = {}
        for peer, candidate in self._candidates.items():
            if self._may_dial(peer, now):
                found[candidate.address] = min(peer, found.get(candidate.address, peer), key=self._order)
        return list(found.values())

    def _may_dial(self, peer: str, now: float) -> bool:
        candidate = self._candidates[peer]
        address = candidate.address
        rests = max(candidate.retry_at, self._closed.get(address, now)) > now
        return candidate.usable and not rests and peer not in self._peers and address not in self._busy

    def answered(self, source: Source) -> None:
        """It told us what it has: earlier failures are forgiven."""
        candidate = self._candidates[source.entry.peer]
        candidate.failures, candidate.retry_at = 0, NEVER_FAILED
        if not candidate.banned:
            candidate.trouble = None

    def drop(self, source: Source, now: float, why: Trouble | Farewell) -> None:
        """End the session; see `Trouble` and `Farewell` for what becomes of the peer."""
        candidate = self._candidates[source.entry.peer]
        del self._active[source.session]
        del self._peers[source.entry.peer]
        address = address_of(source.entry)
        self._busy.discard(address)
        if isinstance(why, Trouble):
            self._closed[address] = max(self._closed.get(address, now), now + RETRY_SECONDS_FIRST)
        if why is Farewell.FOREVER:
            candidate.named = False
        elif why is not Farewell.FRIENDLY:
            candidate.failed(now)
        if isinstance(why, Trouble) and not candidate.banned:
            candidate.trouble = why

    def be_patient(self, source: Source) -> None:
        """A source that owes pieces is given up for its silence: wait longer the next time."""
        if source.owes:
            candidate = self._candidates[source.entry.peer]
            candidate.patience = min(2 * source.patience, 2**PATIENCE_DOUBLINGS_MAX)

    def ban(self, entry: SeederEntry, reason: str) -> None:
        """Do not connect to this known peer, nor to where it was found, again in this download before a `pardon`."""
        self._candidates[entry.peer].trouble = Trouble("banned", reason)
        self._closed[address_of(entry)] = inf

    def pardon(self, entry: SeederEntry) -> None:
        """The peer, if it is banned, and where it was found may be connected to again."""
        if self.is_banned(entry.peer):
            self._candidates[entry.peer].trouble = None
            self._closed.pop(address_of(entry), None)

    # --- time --------------------------------------------------------------------------------------------

    def to_test(self, now: float) -> list[Source]:
        """Sources we have said nothing to for so long that they must be tested again."""
        return [source for source in self.ready() if now - source.said_at >= TEST_IDLE_SECONDS]
