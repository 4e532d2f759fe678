"""A world with one seeder and receivers that all want its content at one moment, and what is seen of it. Pure.

`Swarm` runs it, `Watch` counts what arrives. The worlds are those of `cluster.simulated`: the real cores of tracker and
peers in virtual time. What is asked of them is in `scheduling_cases`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf

from cluster.simulated.content import SentPiece, SimulatedContent, StandIn, make_content
from cluster.simulated.host import PeerTerms
from cluster.simulated.peer import Peer
from cluster.simulated.store import staged
from cluster.simulated.world import Machine, Wish, World
from protocol.limits import LEASE_SECONDS, PIECE_BYTES_MIN
from protocol.messages import Message, Piece

PIECE_BYTES = PIECE_BYTES_MIN
PIECE_SECONDS = 0.25
"""What a piece takes on a link of the usual rate."""
RATE = PIECE_BYTES / PIECE_SECONDS
ROUND_TRIP_PART = 0.01
"""The round trip, in piece times."""
DELAY = PIECE_SECONDS * ROUND_TRIP_PART / 4
"""Each host's part of one way."""
JOIN_SECONDS = LEASE_SECONDS + 5
"""The network has been up for so long when people ask: answers are not ``settling`` any more."""
PATIENCE_FACTOR = 10
"""A receiver that needs more than so many times the optimum is not waited for."""


def machine(up: float = RATE, down: float = RATE, delay: float = DELAY) -> Machine:
    """With a disk that is never waited for."""
    return Machine(up, down, delay)


class Watch:
    """Looks at each message that arrives, besides whoever did so before."""

    def __init__(self, world: World, seeder: Peer, content: SimulatedContent) -> None:
        self._true = content.stand_ins
        self._missing = dict.fromkeys(range(len(content.stand_ins)))
        """Pieces of which no receiver has a copy."""
        self._seeder, self._world = seeder, world
        self._before = world.network.seen
        self.received_bytes = 0
        self.bad: dict[tuple[str, str], int] = {}
        """Corrupt pieces, by (liar, receiver)."""
        self.seeder_sent_bytes = inf
        """...when every piece had arrived at some receiver."""
        self.on_full_copy: Callable[[], None] = _nothing
        world.network.seen = self._seen

    def _seen(self, source: str, target: str, message: object) -> None:
        if isinstance(message, SentPiece):
            self._arrived(source, target, message.header.piece, message.data)
        self._before(source, target, message)

    def _arrived(self, source: str, target: str, piece: int, data: bytes) -> None:
        self.received_bytes += len(data)
        if plain(data) != self._true[piece]:
            self.bad[source, target] = self.bad.get((source, target), 0) + 1
        elif piece in self._missing:
            del self._missing[piece]
            if not self._missing:
                self.seeder_sent_bytes = self._seeder.net.sent_bytes
                self._world.clock.after(0, self.on_full_copy)


class Swarm:
    """``receivers`` by machine; seconds count from the moment all of them ask."""

    def __init__(self, seed: int, seeder: Machine, receivers: Sequence[Machine], pieces: int) -> None:
        self.world = World(seed, traced=False)
        self.content = make_content("data.bin", pieces * PIECE_BYTES, PIECE_BYTES)
        self.world.add_content(self.content)
        self.seeder = self.world.add_peer("seeder", seeder, PeerTerms())
        self.receivers = [
            self.world.add_peer(f"peer-{number}", one, PeerTerms()) for number, one in enumerate(receivers, 1)
        ]
        self.watch = Watch(self.world, self.seeder, self.content)
        self.began = 0.0
        self._wishes: dict[str, Wish] = {}

    @property
    def size(self) -> int:
        """Bytes of the content."""
        return self.content.manifest.length

    def get(self, moments: Sequence[float] = ()) -> None:
        """All join, and when the network has settled all receivers ask at one moment; or each at one of ``moments``, in
        seconds from then and in order."""
        self.world.give(self.seeder, self.content)
        everybody = [self.seeder, *self.receivers]
        for peer in everybody:
            peer.start()
        self.world.run(JOIN_SECONDS)
        assert self.world.joined() == len(everybody), "peers join in time"
        self.began = self.world.now
        for peer, moment in zip(self.receivers, moments or [0.0] * len(self.receivers), strict=True):
            self.world.run(self.began + moment)
            self._wishes[peer.name] = self.world.want(peer, self.content)

    def run(self, waited_for: Sequence[Peer], optimum: float) -> None:
        """Until they all have it, or much longer than ``optimum`` seconds."""
        world = self.world
        until = self.began + PATIENCE_FACTOR * optimum
        while world.now < until and self.done(waited_for) < len(waited_for):
            world.run(world.now + PIECE_SECONDS)

    def done(self, peers: Sequence[Peer]) -> int:
        """How many have it."""
        return sum(self._wishes[peer.name].done_at is not None for peer in peers)

    def seconds(self, peers: Sequence[Peer]) -> list[float]:
        """When each was done, in order; infinite for who never was."""
        ends = [self._wishes[peer.name].done_at for peer in peers]
        return sorted(inf if end is None else end - self.began for end in ends)

    def bad_pieces(self) -> int:
        """Corrupt pieces on the disks of receivers."""
        path = self._wishes[self.receivers[0].name].path
        stores = [store for peer in self.receivers for store in _stores(peer, path)]
        true = self.content.stand_ins
        return sum(data != true[piece] for pieces in stores for piece, data in pieces.items())


def corrupt(message: Message, data: bytes) -> tuple[Message, bytes]:
    """Other bytes of the same length in place of each piece: the `Tamper` of a liar."""
    if isinstance(message, Piece):
        return message, StandIn.of(b"corrupt " + plain(data), len(data))
    return message, data


def plain(data: bytes) -> bytes:
    """The bytes that stand for a piece."""
    return bytes(memoryview(data))


def _stores(peer: Peer, path: str) -> list[dict[int, bytes]]:
    file, partial = peer.disk.files.get(path), peer.disk.partials.get(staged(path))
    return [found.pieces for found in (file, partial) if found is not None]


def _nothing() -> None:
    """Nobody waits for a full copy."""
