"""What is said between the machines of a simulated world, and must not be. Pure.

Listens to every message that arrives: answers of lookups are as new as was asked for, who sent a receiver wrong bytes
once is not given another chance by it, no piece is pushed that is there or was sent, none comes again and again, and
nobody talks and talks while no piece comes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from typing import Any

from cluster.simulated.content import SentPiece
from cluster.simulated.errors import BrokenInvariantError
from cluster.simulated.world import World
from node.downloader.download import Download
from node.downloader.sessions import FALSE_PIECES_COUNT_MAX
from protocol.bitfield import Bitfield
from protocol.messages import (
    Cancel,
    Follow,
    Get,
    GetPeerList,
    GetSeederList,
    GetTorrentList,
    Join,
    Message,
    NotHeld,
    PeerList,
    Received,
    Relay,
    SeederList,
    Status,
    TorrentList,
)

CHANCES_COUNT = 2 * FALSE_PIECES_COUNT_MAX + 1
"""Sessions over which one source sends one download wrong bytes: each time a second one may begin before the piece is
hashed."""
COPIES_COUNT_MAX = 2
"""How often a piece that is there may come over one session: it was pushed, and it was asked for, when it was not."""
TALK_COUNT_MAX, QUEUED_COUNT_MAX, TALK_SECONDS = 60, 600, 1.0
"""How much a receiver may say to a source in this time while no piece comes, and a source to a receiver, where all that
queued behind a piece may come at once."""


class Eavesdropper:
    """In ``world``; what peers named in ``liars`` hear is their own affair."""

    def __init__(self, world: World, liars: Collection[str]) -> None:
        self._world, self._liars = world, liars
        self._runs: dict[str, dict[int, None]] = {}
        self._asked: dict[tuple[str, str, int], tuple[int, int]] = {}
        """By who asks, the tracker and the question."""
        self._wrong: dict[tuple[Download, str], dict[int, None]] = {}
        self._copies: dict[Download, Counter[tuple[int, int]]] = {}
        """By session and piece, how often it came when it was there."""
        self._allowed: dict[tuple[str, str, int], Counter[int]] = {}
        """By receiver, source and session: how often each piece was asked for, less how often it came or was there."""
        self._talk: dict[tuple[str, str, bool], tuple[float, int]] = {}
        """By who says it, who hears it, and whether that is said as a source: since when, and how much."""
        self.seeders_asked_at: dict[str, float] = {}
        """When each peer last asked who has something."""

    def listen(self) -> None:
        """From now on."""
        self._world.network.overhear(self, _HEARD)

    def runs(self, identity: str) -> int:
        """How many runs asked to be ``identity``."""
        return len(self._runs.get(identity, ()))

    def _join(self, _source: str, _target: str, message: Join) -> None:
        self._runs.setdefault(message.peer, {})[message.run] = None

    def _question(self, source: str, target: str, message: GetTorrentList | GetSeederList | GetPeerList) -> None:
        self._asked[source, target, message.id] = (message.epoch, message.min_seq)
        if isinstance(message, GetSeederList):
            self.seeders_asked_at[source] = self._world.now

    def _answer(self, source: str, target: str, message: TorrentList | SeederList | PeerList) -> None:
        asked = self._asked.pop((target, source, message.id), (0, 0))
        if (message.epoch, message.seq) < asked:
            what = f"as of {message.epoch}/{message.seq}, and asked for {asked[0]}/{asked[1]}"
            raise BrokenInvariantError(f"{target} was answered {what}")

    def _follow(self, source: str, target: str, message: Follow) -> None:
        have = Bitfield.from_bytes(message.bits, 8 * len(message.bits))
        self._allowed[source, target, message.session] = Counter(dict.fromkeys(have.indices(), -1))

    def _get(self, source: str, target: str, message: Get) -> None:
        self._said(source, target, message)
        allowed = self._allowed.get((source, target, message.session))
        if allowed is not None:
            allowed.update(message.pieces)

    def _said(self, source: str, target: str, message: Message) -> None:
        """Something about pieces that is none."""
        if source in self._liars or target in self._liars:
            return
        now, of_source = self._world.now, isinstance(message, NotHeld | Status)
        since, count = self._talk.get((source, target, of_source), (now, 0))
        if now - since > TALK_SECONDS:
            since, count = now, 0
        self._talk[source, target, of_source] = since, count + 1
        if count >= (QUEUED_COUNT_MAX if of_source else TALK_COUNT_MAX):
            raise BrokenInvariantError(f"{source} goes on saying things like {message} to {target}")

    def _piece(self, source: str, target: str, message: SentPiece) -> None:
        self._talk.pop((source, target, True), None)
        self._talk.pop((target, source, False), None)
        if target in self._liars:
            return
        session, piece = message.header.session, message.header.piece
        allowed = self._allowed.get((target, source, session))
        if allowed is not None and source not in self._liars:
            allowed[piece] -= 1
            if allowed[piece] < -1:
                raise BrokenInvariantError(f"{source} pushes {target} piece {piece}, which it has or was sent")
        receiver = self._world.peers[target].downloader
        for job in receiver.core.jobs.values() if receiver is not None else ():
            download = job.download
            if download is None or all(one.session != session for one in download.sources):
                continue
            if not self._world.is_right(job.fetch.digest, piece, bytes(memoryview(message.data))):
                sessions = self._wrong.setdefault((download, source), {})
                sessions[session] = None
                if len(sessions) >= CHANCES_COUNT:
                    raise BrokenInvariantError(f"{target} gave {source} {len(sessions)} chances to send wrong bytes")
            elif piece < download.have.size and piece in download.have and source not in self._liars:
                copies = self._copies.setdefault(download, Counter())
                copies[session, piece] += 1
                if copies[session, piece] > COPIES_COUNT_MAX:
                    raise BrokenInvariantError(f"{source} sends {target} piece {piece} again and again")


_HEARD: dict[type, Callable[[Eavesdropper, str, str, Any], None]] = {
    Join: Eavesdropper._join,
    GetTorrentList: Eavesdropper._question,
    GetSeederList: Eavesdropper._question,
    GetPeerList: Eavesdropper._question,
    TorrentList: Eavesdropper._answer,
    SeederList: Eavesdropper._answer,
    PeerList: Eavesdropper._answer,
    Follow: Eavesdropper._follow,
    Get: Eavesdropper._get,
    **dict.fromkeys((Cancel, NotHeld, Received, Relay, Status), Eavesdropper._said),
    SentPiece: Eavesdropper._piece,
}
