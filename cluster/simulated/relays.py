"""Pieces that receivers of a simulated world are given to pass on, and what their sources hear of them. Pure.

Keeps books of its own, of what piece servers send and are told: no piece that one receiver alone has is forgotten, and
nobody is left with many such while others pass theirs on. How long either may last is `agreement`'s to judge.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from cluster.simulated.piece_server import PieceServerProcess
from cluster.simulated.world import World
from node.piece_server import swarm as product
from node.piece_server.swarm import SPREAD_SECONDS, Session
from node.piece_server.uploads import Uploads
from protocol.bitfield import Bitfield
from protocol.messages import Follow, Have, Piece, Relay, Test

FORGOTTEN_SECONDS, HOARDED_SECONDS = 0.75, 1.0
"""How long no source may know that one receiver alone has a piece; and a receiver have too many such."""
PASSED_ON_FACTOR = 2
"""Of what another receiver has got elsewhere within `SPREAD_SECONDS` a source counts half at least."""


class _Given(NamedTuple):
    """To whom a piece was sent to be passed on, and when: its name and the number of its session, which may not be
    there any more."""

    receiver: tuple[str, int]
    session: Session
    at: float


class _Receiver:
    """``sent`` are the pieces that it was sent in sessions of one number, of which the last began at ``since``."""

    def __init__(self) -> None:
        self.sent: dict[int, None] = {}
        self.since = 0.0
        self.elsewhere = 0
        """How many others it has said it has..."""
        self.gained: deque[tuple[float, int]] = deque()
        """...when that grew, and by how much."""
        self.spread = 0
        """Pieces that it was given and that another one has."""


class _Book:
    """What one piece server has sent of one content. ``given`` are pieces that nobody else is known to have."""

    def __init__(self) -> None:
        self.given: dict[int, _Given] = {}
        self.receivers: dict[tuple[str, int], _Receiver] = {}


class Relays:
    """In ``world``. Call `sent` for each piece that is."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._books: dict[PieceServerProcess, dict[str, _Book]] = {}
        self._digests: dict[tuple[str, str, int], str] = {}
        """By receiver, source and session."""

    def listen(self) -> None:
        """From now on."""
        self._world.network.overhear(self, _HEARD)

    def sent(self, server: PieceServerProcess, session: Session, header: Piece) -> None:
        """``server`` sends a piece."""
        connection = server.listener.routes.get(session.route)
        if connection is None:
            return
        receiver = connection.client.name, session.number
        book = self._book(server, session.swarm.digest)
        book.receivers.setdefault(receiver, _Receiver()).sent[header.piece] = None
        if header.relay:
            book.given[header.piece] = _Given(receiver, session, self._world.now)

    def differences(self, server: PieceServerProcess) -> Iterator[tuple[str, float]]:
        """What is wrong with ``server``, and for how long it may be."""
        uploads, now = server.core.uploads, self._world.now
        for digest, book in self._books.get(server, {}).items():
            for piece in _forgotten(uploads, digest, book):
                yield f"forgot that nobody but {book.given[piece].receiver} has piece {piece}", FORGOTTEN_SECONDS
            for receiver in _hoarders(uploads, book, now):
                yield f"leaves pieces that nobody else has with {receiver}, and others pass on theirs", HOARDED_SECONDS

    def _book(self, server: PieceServerProcess, digest: str) -> _Book:
        return self._books.setdefault(server, {}).setdefault(digest, _Book())

    def _test(self, source: str, target: str, message: Test) -> None:
        self._digests[source, target, message.session] = message.digest

    def _told(self, source: str, target: str, message: Follow | Have | Relay) -> None:
        """Who has or relays a piece besides the one that was given it. Of who it knows to hoard, a source takes the
        word too."""
        server, digest = self._world.peers[target].piece_server, self._digests.get((source, target, message.session))
        if server is None or digest is None:
            return
        book = self._book(server, digest)
        receiver, now = (source, message.session), self._world.now
        known = book.receivers.setdefault(receiver, _Receiver())
        if isinstance(message, Relay):
            has: Bitfield | list[int] = message.assigned
        else:
            has = Bitfield.from_bytes(message.bits, 8 * len(message.bits))
            elsewhere = has.count_set
            if isinstance(message, Follow):
                known.since = now
            else:
                elsewhere -= sum(piece in has for piece in known.sent)
                known.gained.append((now, max(0, elsewhere - known.elsewhere)))
            known.elsewhere = max(elsewhere, known.elsewhere)
        for piece, given in list(book.given.items()) if has else ():
            own = given.receiver == receiver and given.at >= known.since
            if piece in has and not own:
                del book.given[piece]
                book.receivers[given.receiver].spread += 1


_HEARD: dict[type, Callable[[Relays, str, str, Any], None]] = {
    Test: Relays._test,
    **dict.fromkeys((Follow, Have, Relay), Relays._told),
}


def _forgotten(uploads: Uploads, digest: str, book: _Book) -> Iterator[int]:
    """Pieces that one receiver alone is to pass on, and the source does not know it; the books of a core are open to
    this alone."""
    swarm = uploads._swarms.get(digest)
    for piece, given in list(book.given.items()):
        if swarm is None or piece in swarm.in_stock or piece not in swarm.have or piece in swarm.relays:
            del book.given[piece]
        elif piece not in swarm.orphans and not (uploads.is_open(given.session) and piece in given.session.assigned):
            yield piece


def _hoarders(uploads: Uploads, book: _Book, now: float) -> Iterator[tuple[str, int]]:
    """Receivers with more pieces that nobody else has than they may keep while another one gets as many elsewhere."""
    assigned = [given for given in book.given.values() if uploads.is_open(given.session)]
    old = Counter(given.receiver for given in assigned if now - given.at > SPREAD_SECONDS)
    for receiver, count in old.items():
        if count > product.UNSPREAD_COUNT_MAX:
            least = PASSED_ON_FACTOR * (count + book.receivers[receiver].spread)
            if any(_lately(one, now) >= least for name, one in book.receivers.items() if name != receiver):
                yield receiver


def _lately(receiver: _Receiver, now: float) -> int:
    """How many pieces it has got elsewhere."""
    gained = receiver.gained
    while gained and gained[0][0] < now - SPREAD_SECONDS:
        gained.popleft()
    return sum(count for _, count in gained)
